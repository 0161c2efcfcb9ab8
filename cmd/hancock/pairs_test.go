package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPairs(t *testing.T) {
	for name, tt := range map[string]struct {
		flag string
		want pairs
		err  string
	}{
		"plain":             {flag: "severity=critical", want: pairs{"severity": "critical"}},
		"dots":              {flag: "service.name=x", want: pairs{"service.name": "x"}},
		"colon in the name": {flag: "app:role=db", want: pairs{"app:role": "db"}},
		"equals in value":   {flag: "query=a=b:c", want: pairs{"query": "a=b:c"}},
		"quotes in value":   {flag: `summary="so"`, want: pairs{"summary": `"so"`}},
		"empty value":       {flag: "instance=", want: pairs{"instance": ""}},
		"quoted name":       {flag: `"a=b \"c\""=d e`, want: pairs{`a=b "c"`: "d e"}},
		"both quoted":       {flag: `"a=b"="c\\d"`, want: pairs{"a=b": `c\d`}},
		"emoji":             {flag: "🔥=städte/x y", want: pairs{"🔥": "städte/x y"}},
		"no value":          {flag: "severity", err: `expected NAME=VALUE, got "severity"`},
		"quoted, no value":  {flag: `"severity"`, err: "expected NAME=VALUE"},
		"no name":           {flag: "=x", err: "expected NAME=VALUE"},
		"invalid UTF-8":     {flag: "a\xff=x", err: "is not valid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			got := pairs{}
			err := got.Set(tt.flag)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
			again := pairs{}
			require.NoError(t, again.Set(got.String()))
			require.Equal(t, got, again)
		})
	}
}
