package agent

import (
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// The forms of indicators that a pattern tells.
var (
	cveRE    = regexp.MustCompile(`(?i)^CVE-[0-9]{4}-[0-9]{4,19}$`)
	hexRE    = regexp.MustCompile(`^[0-9A-Fa-f]+$`)
	labelRE  = regexp.MustCompile(`^[\p{L}\p{M}\p{N}_]([\p{L}\p{M}\p{N}_-]{0,61}[\p{L}\p{M}\p{N}_])?$`)
	schemeRE = regexp.MustCompile(`^(?i)[a-z][a-z0-9+.-]*://`)
)

// indicatorType finds the kind of an indicator of compromise: url, cve, email,
// sha256, sha1, md5, ipv4, ipv6, domain, or unknown. White space around it
// does not count.
func indicatorType(s string) string {
	s = strings.TrimSpace(s)
	switch {
	case isURL(s):
		return "url"
	case cveRE.MatchString(s):
		return "cve"
	case isEmail(s):
		return "email"
	case hexRE.MatchString(s) && len(s) == 64:
		return "sha256"
	case hexRE.MatchString(s) && len(s) == 40:
		return "sha1"
	case hexRE.MatchString(s) && len(s) == 32:
		return "md5"
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Is4() {
			return "ipv4"
		}
		return "ipv6"
	}
	if isDomain(s) {
		return "domain"
	}
	return "unknown"
}

func isURL(s string) bool {
	if !schemeRE.MatchString(s) || strings.ContainsAny(s, " \t\r\n") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Host != ""
}

// isEmail takes a bare address, without a name before it.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || len(s) > 254 || !isDomain(s[at+1:]) {
		return false
	}
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && strings.EqualFold(a.Address, s)
}

// isDomain takes a name of two labels at least, whose last is no number, with
// or without the root's dot. Underscores are allowed: real zones have them.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if len(l) > 63 || !labelRE.MatchString(l) {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && len(last) > 1 && strings.Trim(last, "0123456789") != ""
}
