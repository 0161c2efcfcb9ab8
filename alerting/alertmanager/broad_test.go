package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// TestBroadSilences makes silences as Alertmanager takes them. Those that match nearly every alert are made as well, and
// warned of in the answer's header and in the log, also after a restart.
func TestBroadSilences(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inDir := func(o *alertmanager.Options) { o.Path = dir }
	s := newStation(t, unnotified, inDir)
	address := serve(t, s)
	s.Send(alertOf("HancockSlow", "warning"), alertOf("HancockDown", "critical"))
	require.Eventually(t, func() bool {
		_, text := ask(t, http.MethodGet, address+"/api/v2/alerts", "")
		return strings.Contains(text, "HancockSlow") && strings.Contains(text, "HancockDown")
	}, patience, 10*time.Millisecond)

	matcher := func(name, value string, isRegex, isEqual bool) string {
		return fmt.Sprintf(`{"name":%q,"value":%q,"isRegex":%t,"isEqual":%t}`, name, value, isRegex, isEqual)
	}
	for name, tc := range map[string]struct {
		matchers []string
		alerts   int // that are warned of; -1 for no warning
	}{
		"another value":                      {[]string{matcher("foo", "bar", false, false)}, 2},
		"no alert without a name":            {[]string{matcher("alertname", "", false, false)}, 2},
		"any name":                           {[]string{matcher("alertname", ".+", true, true)}, 2},
		"any value beside it":                {[]string{matcher("foo", ".*", true, true), matcher("alertname", ".*", true, true), matcher("job", ".+", true, true)}, 2},
		"all but one":                        {[]string{matcher("alertname", "HancockDown", false, false)}, 1},
		"all but some":                       {[]string{matcher("severity", "critical|page", true, false)}, 1},
		"every alert that has a label":       {[]string{matcher("instance", ".+", true, true)}, 2},
		"one name":                           {[]string{matcher("alertname", "HancockSlow", false, true)}, -1},
		"one name and another value":         {[]string{matcher("alertname", "HancockSlow", false, true), matcher("severity", "critical", false, false)}, -1},
		"a choice of names":                  {[]string{matcher("alertname", "Hancock(Slow|Down)", true, true)}, -1},
		"a value, and any other label":       {[]string{matcher("severity", "info", false, true), matcher("instance", ".*", true, true)}, -1},
		"a value of what may be missing":     {[]string{matcher("severity", "|warning", true, true), matcher("job", "hancock", false, true)}, -1},
		"same label twice, never both":       {[]string{matcher("alertname", "A", false, true), matcher("alertname", "B", false, true)}, -1},
		"everything of one job, all of them": {[]string{matcher("job", "hancock", false, true)}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(`{"matchers":[%s],"startsAt":%q,"endsAt":%q,"createdBy":"operator","comment":"test"}`, strings.Join(tc.matchers, ","),
				time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			resp, err := http.Post(address+"/api/v2/silences", "application/json", strings.NewReader(body))
			require.NoError(t, err)
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode, string(answer))
			var made struct{ SilenceID string }
			require.NoError(t, json.Unmarshal(answer, &made))
			warned := strings.Contains(s.journal.String(), `"silence":"`+made.SilenceID)
			if tc.alerts < 0 {
				require.Empty(t, resp.Header.Get("Warning"))
				require.False(t, warned)
				return
			}
			require.Equal(t, fmt.Sprintf(`299 hancock "the silence matches nearly every alert, %d of them now"`, tc.alerts), resp.Header.Get("Warning"))
			require.True(t, warned, s.journal.String())
		})
	}
	require.NoError(t, s.Close())
	again := newStation(t, unnotified, inDir)
	require.Equal(t, 7, strings.Count(again.journal.String(), "silence matches nearly every alert"))
	require.Contains(t, again.journal.String(), `"matchers":"foo!=\"bar\"","created_by":"operator"`)
}
