package tsdb

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestListsAreBounded holds what limit the API sees of a request.
func TestListsAreBounded(t *testing.T) {
	for target, want := range map[string]string{
		"series":                         "20000",
		"series?limit=0":                 "20000",
		"series?limit=7":                 "7",
		"series?limit=7&limit=0":         "7",
		"series?limit=100000":            "20000",
		"series?limit=-1":                "-1",
		"series?limit=many":              "many",
		"series?limit=99999999999999999": "20000",
		"labels":                         "20000",
		"label/job/values":               "20000",
		"label/job/values?limit=30":      "30",
		"metadata":                       "20000",
		"metadata?limit=-1":              "20000",
		"metadata?limit=0":               "0",
		"targets/metadata?limit=-5":      "20000",
		"status/tsdb":                    "",
		"status/tsdb?limit=5":            "5",
		"status/tsdb?limit=0":            "0",
		"status/tsdb?limit=20001":        "20000",
		"query?limit=0":                  "0",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			path, query, _ := strings.Cut(target, "?")
			r := httptest.NewRequest(method, "/api/v1/"+path+"?"+query, nil)
			if method == http.MethodPost {
				r = httptest.NewRequest(method, "/api/v1/"+path, strings.NewReader(query))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			require.NoError(t, bounded(r))
			require.NoError(t, r.ParseForm())
			require.Equal(t, want, r.FormValue("limit"), "%s %s", method, target)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/api/v1/series", nil)
	r.URL.RawQuery = "a=%zz"
	require.Error(t, bounded(r))
}
