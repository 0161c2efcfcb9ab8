package requestlog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/agent/requestlog"
)

// openLog returns a log with files of 256 KiB below a folder.
func openLog(t testing.TB, dir string, stderr io.Writer) *requestlog.Log {
	t.Helper()
	l := requestlog.NewLog(stderr, slog.LevelInfo)
	o := requestlog.DefaultOptions()
	o.Dir, o.MaxSizeBytes, o.MaxTotalBytes = dir, 256<<10, 64<<20
	require.NoError(t, l.Open(o, prometheus.NewRegistry()))
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// start is the time of the first line that completed makes.
func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// completed is the line of the nth request, one each second.
func completed(n int) string {
	modes, statuses := []string{"soc", "auto", "code"}, []int{200, 200, 400, 200, 502}
	kind := ""
	if statuses[n%5] == 502 {
		kind = `"error":"timeout",`
	}
	return fmt.Sprintf(`{"timestamp":%q,"level":%q,"message":"request_completed","event":"request_completed",`+
		`"method":"POST","endpoint":"/v1/chat","status":%d,"latency_ms":12.5,%s"mode":%q,"model":"llama3.1:8b","client":"192.0.2.%d",`+
		`"input_tokens":7,"request_id":"req-%06d"}`+"\n",
		start().Add(time.Duration(n)*time.Second).Format("2006-01-02T15:04:05.000Z"),
		map[int]string{200: "INFO", 400: "WARNING", 502: "ERROR"}[statuses[n%5]],
		statuses[n%5], kind, modes[n%3], n%250, n)
}

// started is a line that tells of the nth request but is not its record.
func started(n int) string {
	line := strings.ReplaceAll(completed(n), "request_completed", "request_started")
	return strings.Replace(line, `"status"`, `"attempt"`, 1)
}

// writeLog writes requests with all that may stand in a log besides.
func writeLog(t testing.TB, dir string, requests int) {
	t.Helper()
	var text bytes.Buffer
	for n := range requests {
		text.WriteString(started(n) + completed(n))
		switch n % 1000 {
		case 7:
			text.WriteString("panic: not JSON\n\n\x00\xff{\n")
		case 8:
			text.WriteString(`{"timestamp":"2026-01-02T03:04:05.000Z","level":"INFO","message":"request_comp` + "\n")
		case 9:
			text.WriteString(`{"timestamp":"2026-01-02T03:04:05.000Z","level":"INFO","message":"Ünïcode <b> \"Quoted\"","status":"none"}` + "\n")
		}
	}
	text.WriteString(strings.TrimSuffix(completed(requests), "}\n")) // torn
	// Three files, cut anywhere between lines.
	all := text.Bytes()
	for number := 1; number <= 3; number++ {
		end := len(all)
		if number < 3 {
			end = bytes.IndexByte(all[len(all)/2:], '\n') + len(all)/2 + 1
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("hancock-%08d.log", number)), all[:end], 0o600))
		all = all[end:]
	}
}

func TestRecords(t *testing.T) {
	const requests = 6000 // several chunks
	dir := t.TempDir()
	writeLog(t, dir, requests)
	l := openLog(t, dir, io.Discard)
	at := func(n int) time.Time { return start().Add(time.Duration(n) * time.Second) }
	for _, tc := range []struct {
		name  string
		query requestlog.Query
		want  func(n int) bool
	}{
		{"all", requestlog.Query{}, func(int) bool { return true }},
		{"id", requestlog.Query{ID: "req-000042"}, func(n int) bool { return n == 42 }},
		{"no such id", requestlog.Query{ID: "req-00004"}, func(int) bool { return false }},
		{"time", requestlog.Query{From: at(100), To: at(2500)}, func(n int) bool { return n >= 100 && n <= 2500 }},
		{"since", requestlog.Query{From: at(5500)}, func(n int) bool { return n >= 5500 }},
		{"until", requestlog.Query{To: at(10)}, func(n int) bool { return n <= 10 }},
		{"status", requestlog.Query{MinStatus: 502, MaxStatus: 502}, func(n int) bool { return n%5 == 4 }},
		{"class of status", requestlog.Query{MinStatus: 400, MaxStatus: 499}, func(n int) bool { return n%5 == 2 }},
		{"range of status", requestlog.Query{MinStatus: 400, MaxStatus: 599}, func(n int) bool { return n%5 == 2 || n%5 == 4 }},
		{"no such status", requestlog.Query{MinStatus: 503, MaxStatus: 599}, func(int) bool { return false }},
		{"mode", requestlog.Query{Mode: "soc"}, func(n int) bool { return n%3 == 0 }},
		{"mode and status", requestlog.Query{Mode: "code", MinStatus: 500}, func(n int) bool { return n%3 == 2 && n%5 == 4 }},
		{"part of a mode", requestlog.Query{Mode: "so"}, func(int) bool { return false }},
		{"model", requestlog.Query{Model: "llama3.1:8b", From: at(5990)}, func(n int) bool { return n >= 5990 }},
		{"event", requestlog.Query{Event: requestlog.EventCompleted, From: at(5990)}, func(n int) bool { return n >= 5990 }},
		{"another event", requestlog.Query{Event: requestlog.EventStarted}, func(int) bool { return false }},
		{"endpoint", requestlog.Query{Endpoint: "/v1/ask"}, func(int) bool { return false }},
		{"text in another case", requestlog.Query{Text: "TIMEOUT"}, func(n int) bool { return n%5 == 4 }},
		{"text of digits", requestlog.Query{Text: "000777"}, func(n int) bool { return n == 777 }},
		{"text and id", requestlog.Query{Text: "Soc", ID: "req-000003"}, func(n int) bool { return n == 3 }},
		{"level", requestlog.Query{Level: "warning"}, func(n int) bool { return n%5 == 2 || n%5 == 4 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want, got []string
			for n := requests - 1; n >= 0; n-- {
				if tc.want(n) {
					want = append(want, fmt.Sprintf("req-%06d", n))
				}
			}
			q := tc.query
			q.Limit = requestlog.MaxLimit
			for {
				page, err := l.Records(t.Context(), q)
				require.NoError(t, err)
				for _, r := range page.Items {
					got = append(got, r.ID)
				}
				if q.Cursor = page.Next; q.Cursor == "" {
					break
				}
				require.Len(t, page.Items, q.Limit)
			}
			require.Equal(t, want, got)
		})
	}
	page, err := l.Records(t.Context(), requestlog.Query{ID: "req-000004"})
	require.NoError(t, err)
	seven := int64(7)
	require.Equal(t, []requestlog.Record{{
		Time: at(4), Level: "ERROR", ID: "req-000004", Method: "POST", Endpoint: "/v1/chat", Mode: "auto", Model: "llama3.1:8b",
		Status: 502, Error: "timeout", LatencyMS: 12.5, InputTokens: &seven, Client: "192.0.2.4",
	}}, page.Items)
}

func TestLinesOfASearch(t *testing.T) {
	dir := t.TempDir()
	writeLog(t, dir, 3000)
	l := openLog(t, dir, io.Discard)
	for _, tc := range []struct {
		query requestlog.Query
		want  int
	}{
		{requestlog.Query{ID: "req-000042"}, 2},
		{requestlog.Query{Text: `ünïcode`}, 0}, // only ASCII letters have two cases
		{requestlog.Query{Text: `Ünïcode <B>`}, 3},
		{requestlog.Query{Text: `"quoted"`}, 3},
		{requestlog.Query{Text: `"quoted"`, MinStatus: 200}, 0},
		{requestlog.Query{Text: "not JSON"}, 0},
		{requestlog.Query{Text: "req-003000"}, 0}, // torn
		{requestlog.Query{Level: "ERROR", Limit: 1000}, 1000},
	} {
		page, err := l.Lines(t.Context(), tc.query)
		require.NoError(t, err)
		require.Len(t, page.Items, tc.want, "%+v", tc.query)
		for _, line := range page.Items {
			require.True(t, json.Valid(line), string(line))
		}
	}
}

// Pages follow one another without a gap and without a repetition while lines
// are added, files begun and the oldest files removed.
func TestCursorIsStable(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, io.Discard)
	log := l.Logger(slog.LevelInfo)
	number := 0
	write := func(n int) {
		for range n {
			log.Info("line", "number", number, "padding", strings.Repeat("x", 500))
			number++
		}
	}
	write(2000)
	q, next := requestlog.Query{Limit: 77}, number
	for {
		page, err := l.Lines(t.Context(), q)
		require.NoError(t, err)
		for _, line := range page.Items {
			next--
			require.Contains(t, string(line), fmt.Sprintf(`"number":%d,`, next))
		}
		if next < 900 {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "hancock-00000001.log")))
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
		write(30)
	}
	require.Less(t, next, 900)
	require.Positive(t, next, "the lines of the removed file are gone")

	for _, cursor := range []string{"1", "-1-1", "1--1", "01-1", "x-y", "99999999999999999999-1", "1-1-1"} {
		_, err := l.Lines(t.Context(), requestlog.Query{Cursor: cursor})
		require.ErrorContains(t, err, "cursor: ", cursor)
	}
	for _, cursor := range []string{"1-5", "99-99999999", "3-12345", "0-0", "1-9223372036854775807"} {
		_, err := l.Lines(t.Context(), requestlog.Query{Cursor: cursor})
		require.NoError(t, err, cursor)
	}
}

// A clock that was set back by less than an hour hides nothing.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	for n := range 6000 {
		text.WriteString(completed(n))
	}
	for n := 3000; n < 9000; n++ {
		text.WriteString(completed(n))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hancock-00000001.log"), []byte(text.String()), 0o600))
	l := openLog(t, dir, io.Discard)
	page, err := l.Records(t.Context(), requestlog.Query{From: start().Add(5990 * time.Second), To: start().Add(5999 * time.Second)})
	require.NoError(t, err)
	require.Len(t, page.Items, 20)
}

func TestSearchEnds(t *testing.T) {
	closed := requestlog.NewLog(io.Discard, slog.LevelInfo)
	_, err := closed.Records(t.Context(), requestlog.Query{})
	require.ErrorIs(t, err, requestlog.ErrNoFiles)
}

// FuzzLineReader throws bytes at the reader of files: every line that is whole
// and ours is found once, the newest first, whatever stands around it.
func FuzzLineReader(f *testing.F) {
	f.Add([]byte("garbage"), uint16(0), "x")
	f.Add([]byte("{\"timestamp\":\"\n\n\x00"), uint16(200), "request")
	f.Add([]byte(completed(5)), uint16(3), "REQ-")
	f.Add([]byte("0"), uint16(len(completed(2))-1), "0")
	f.Fuzz(func(t *testing.T, garbage []byte, cut uint16, text string) {
		dir := t.TempDir()
		file := slices3(garbage, completed(1), completed(2)[:int(cut)%len(completed(2))])
		require.NoError(t, os.WriteFile(filepath.Join(dir, "hancock-00000001.log"), file, 0o600))
		l := openLog(t, dir, io.Discard)
		log := l.Logger(slog.LevelInfo)
		log.Info("fuzzed", "text", text)
		var want []string
		for line := range bytes.Lines(file) {
			// A last line that lacks nothing but its end is given that end, and is whole.
			if whole := bytes.TrimSuffix(line, []byte("\n")); len(whole) < len(line) || json.Valid(whole) {
				want = append([]string{string(whole)}, want...)
			}
		}
		page, err := l.Lines(t.Context(), requestlog.Query{})
		require.NoError(t, err)
		require.NotEmpty(t, page.Items)
		require.Contains(t, string(page.Items[0]), `"message":"fuzzed"`)
		for _, line := range page.Items[1:] {
			for len(want) > 0 && want[0] != string(line) {
				want = want[1:]
			}
			require.NotEmpty(t, want, "%q is not a line of the file, or not in order", line)
			want = want[1:]
		}
		if (requestlog.Query{Text: text}).Validate() == nil && !strings.ContainsRune(text, '\n') {
			page, err := l.Lines(t.Context(), requestlog.Query{Text: text, Limit: 1})
			require.NoError(t, err)
			require.Len(t, page.Items, 1, "the message %q is not found", text)
		}
	})
}

func slices3(a []byte, b, c string) []byte {
	out := append(bytes.Clone(a), '\n')
	return append(append(out, b...), c...)
}
