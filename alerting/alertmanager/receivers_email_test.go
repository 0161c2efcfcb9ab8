package alertmanager_test

import (
	"crypto/tls"
	"mime"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cyberviser/hancock/alerting/alertmanager"
)

// mailTo is a configuration whose only receiver is a mail address.
func mailTo(route, smarthost, password, more string) string {
	return lines(
		"global:",
		"  smtp_smarthost: "+smarthost,
		"  smtp_from: Hancock <hancock@hancock.example>",
		"  smtp_auth_username: "+mailUser,
		"  smtp_auth_password: "+password,
		"route:",
		"  receiver: post", route,
		"receivers:",
		"- name: post",
		"  email_configs:",
		"  - to: on-call@hancock.example, second@hancock.example",
		"    send_resolved: true",
		"    text: '{{ range .Alerts }}{{ .Status }}: {{ .Annotations.summary }}{{ end }}'",
		more,
	)
}

func TestReceiversEmail(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for _, test := range []struct {
		name     string
		implicit bool
		more     string
	}{
		{name: "STARTTLS"},
		{name: "TLS from the first byte", implicit: true, more: "    force_implicit_tls: true\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			office := newPostOffice(t, ca.server(t, "127.0.0.1"), test.implicit)
			s := newStation(t, mailTo(quickly, office.address, mailPassword,
				test.more+"    tls_config: {ca_file: "+ca.file+"}"))
			alert := alertOf("HancockDown", "critical")

			s.Send(alert)
			checkLetter(t, next(t, office.letters), "[FIRING:1] HancockDown: Something of HancockDown",
				"firing: Something of HancockDown")
			a := s.first(t, "post")
			require.Equal(t, "ok", a.Outcome)
			require.Equal(t, 250, a.StatusCode)
			require.Equal(t, "email[0]", a.Integration)

			s.Send(ended(alert))
			checkLetter(t, next(t, office.letters), "[RESOLVED] HancockDown: Something of HancockDown",
				"resolved: Something of HancockDown")
			require.NotContains(t, s.journal.String(), mailPassword)
		})
	}
}

func checkLetter(t *testing.T, l letter, subject, text string) {
	t.Helper()
	require.True(t, l.tls, "encrypted")
	require.Equal(t, mailUser, l.user)
	require.Equal(t, "hancock@hancock.example", l.from)
	require.Equal(t, []string{"on-call@hancock.example", "second@hancock.example"}, l.to)
	header := l.message.Header
	got, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, subject, got)
	require.Equal(t, "Hancock <hancock@hancock.example>", header.Get("From"))
	require.Equal(t, "on-call@hancock.example, second@hancock.example", header.Get("To"))
	require.NotEmpty(t, header.Get("Message-Id"))
	date, err := header.Date()
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), date, time.Minute)
	require.Equal(t, text, l.text)
	require.Contains(t, l.html, "<strong>HancockDown: Something of HancockDown</strong>")
	require.Contains(t, l.html, `<a href="https://hancock.example/runbooks/HancockDown">Runbook</a>`)
	require.Contains(t, l.html, `<a href="http://hancock.example:5000/#/silences/new?filter=%7B`, "links lead to our page")
}

// Whatever keeps a mail from being sent is told in the ledger, in words that
// say what to mend, and is tried again.
func TestReceiversEmailThatCannotBeSent(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	trusted := "    tls_config: {ca_file: " + ca.file + "}"
	for _, test := range []struct {
		name     string
		server   *tls.Config
		password string
		more     string
		fails    string
	}{
		{
			name: "a server without TLS", password: mailPassword, more: trusted,
			fails: "does not advertise the STARTTLS extension",
		},
		{
			name: "a certificate of an unknown authority", server: other.server(t, "127.0.0.1"),
			password: mailPassword, more: trusted, fails: "certificate signed by unknown authority",
		},
		{
			name: "a certificate of another host", server: ca.server(t, "elsewhere.example"),
			password: mailPassword, more: trusted, fails: "127.0.0.1",
		},
		{
			name: "a wrong password", server: ca.server(t, "127.0.0.1"),
			password: "not-the-password", more: trusted, fails: "Authentication failed",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			office := newPostOffice(t, test.server, false)
			s := newStation(t, mailTo(once, office.address, test.password, test.more))
			s.Send(alertOf("HancockDown", "critical"))
			a := s.first(t, "post")
			require.Equal(t, "failed", a.Outcome)
			require.Contains(t, a.Error, test.fails)
			require.True(t, a.Retry)
			s.attempt(t, "another try", func(a alertmanager.Attempt) bool { return a.Try == 2 })
			require.Empty(t, office.letters)
			require.NotContains(t, s.journal.String(), test.password)
		})
	}
}

// A mail whose template fails is sent whole, with the default of that part;
// one whose address fails is not begun.
func TestReceiversEmailTemplatesThatFail(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	const subject = "[FIRING:1] HancockDown: Something of HancockDown"
	for name, test := range map[string]struct {
		more, field string
		check       func(*testing.T, letter)
	}{
		"subject": {"    headers: {Subject: '{{ .Nonsense }}'}", "headers.Subject", func(t *testing.T, l letter) {
			require.Equal(t, subject, l.message.Header.Get("Subject"))
		}},
		"another header": {"    headers: {X-Team: '{{ .Nonsense }}', X-Site: here}", "headers.X-Team", func(t *testing.T, l letter) {
			require.NotContains(t, l.message.Header, "X-Team")
			require.Equal(t, "here", l.message.Header.Get("X-Site"))
		}},
		"html": {`    html: '{{ template "nowhere" . }}'`, "html", func(t *testing.T, l letter) {
			require.Contains(t, l.html, "HancockDown")
			require.Contains(t, l.html, "</html>")
		}},
		"text beside html": {`    text: '{{ .Nonsense }}'`, "text", func(t *testing.T, l letter) {
			require.Empty(t, l.text)
			require.Contains(t, l.html, "HancockDown")
		}},
		"text alone": {"    html: ''\n    text: '{{ .Nonsense }}'", "text", func(t *testing.T, l letter) {
			require.Contains(t, l.html, "HancockDown")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			office := newPostOffice(t, ca.server(t, "127.0.0.1"), false)
			text := mailTo(once, office.address, mailPassword, test.more+"\n    tls_config: {ca_file: "+ca.file+"}")
			if strings.Contains(test.more, "    text:") { // it comes once
				text = regexp.MustCompile(`(?m)^    text: '\{\{ range .*\n`).ReplaceAllString(text, "")
			}
			s := newStation(t, text)
			s.Send(alertOf("HancockDown", "critical"))
			a := s.first(t, "post")
			require.Equal(t, "ok", a.Outcome, a.Error)
			require.Len(t, a.FailedFields, 1)
			require.Equal(t, test.field, a.FailedFields[0].Field)
			test.check(t, next(t, office.letters))
		})
	}
	t.Run("from", func(t *testing.T) {
		t.Parallel()
		office := newPostOffice(t, ca.server(t, "127.0.0.1"), false)
		s := newStation(t, mailTo(quickly, office.address, mailPassword,
			"    from: '{{ .Nonsense }}@example.org'\n    tls_config: {ca_file: "+ca.file+"}"))
		s.Send(alertOf("HancockDown", "critical"))
		tries := 0
		a := s.attempt(t, "the second turn", func(alertmanager.Attempt) bool { tries++; return tries == 2 })
		require.Equal(t, "failed", a.Outcome)
		require.False(t, a.Retry)
		require.Contains(t, a.Error, "the template of from fails")
		require.Zero(t, office.begun.Load())
	})
}

// A mail server that accepts and then says nothing must hold up nobody: not
// the other receivers, and not the end of the process.
func TestReceiversEmailServerThatHangs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		more string
	}{
		{name: "no greeting"},
		{name: "no TLS handshake", more: "    force_implicit_tls: true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, accepted := silent(t)
			other := newReceiver(t)
			s := newStation(t, mailTo(once, address, mailPassword, test.more+`
  webhook_configs:
  - url: `+other.URL), func(o *alertmanager.Options) { o.AttemptTimeout = time.Second })
			s.Send(alertOf("HancockDown", "critical"))
			next(t, accepted)
			other.next(t)
			tries := 0
			a := s.attempt(t, "the second try that ended", func(a alertmanager.Attempt) bool {
				// One whose time is up before there is a connection says so in other words.
				if a.Kind == "email" && strings.Contains(a.Error, "deadline") {
					tries++
				}
				return tries == 2
			})
			require.Equal(t, "failed", a.Outcome)
			require.True(t, a.Retry)
			start := time.Now()
			require.NoError(t, s.Close())
			require.Less(t, time.Since(start), patience, "the notification would go on for an hour")
		})
	}
}

// silent is a server that accepts connections and never says a word.
func silent(t *testing.T) (address string, accepted <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := make(chan struct{}, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				for _, conn := range conns {
					_ = conn.Close()
				}
				return
			}
			conns = append(conns, conn)
			c <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), c
}
