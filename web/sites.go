package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// errOtherSite is the answer to requests from pages of other sites.
var errOtherSite = echo.NewHTTPError(http.StatusForbidden, "refused: a page of another origin sent this request: "+
	"open the address in the address bar of the browser, add the origin of a page that may read to web.allowed_origins, "+
	"or set web.external_url if a proxy changes the Host header")

// sites separates requests of our page and of programs from those that a page of another site makes a browser send.
// Such a page needs no answer: the request alone may cost memory, time or money, so it must not reach any handler.
type sites struct {
	// external is the origin of web.external_url in lower case, empty without one.
	external string
	// documents are the routes that a link on another site may open.
	documents map[string]bool
	// allowed are the origins in lower case that may read. cors answers their preflight requests, nil without any.
	allowed []string
	cors    echo.MiddlewareFunc
}

func newSites(opts Options, documents map[string]bool) *sites {
	s := &sites{documents: documents}
	if u := opts.ExternalURL; u != nil {
		s.external = originOf(u)
	}
	for _, origin := range opts.AllowedOrigins {
		s.allowed = append(s.allowed, strings.ToLower(origin))
	}
	if len(s.allowed) > 0 {
		s.cors = middleware.CORSWithConfig(middleware.CORSConfig{
			AllowOrigins:  s.allowed,
			AllowMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost},
			AllowHeaders:  []string{echo.HeaderAuthorization, echo.HeaderContentType, echo.HeaderXRequestID},
			ExposeHeaders: []string{echo.HeaderXRequestID, echo.HeaderRetryAfter},
			MaxAge:        600,
		})
	}
	return s
}

// originOf returns the origin of an address as browsers write it.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return strings.ToLower(u.Scheme) + "://" + host
}

// serve refuses requests from other sites. Answers to the origins that may read have the headers of CORS.
func (s *sites) serve(c echo.Context, next echo.HandlerFunc) error {
	r := c.Request()
	if s.cors != nil {
		origin := r.Header["Origin"]
		if len(origin) == 1 && slices.Contains(s.allowed, origin[0]) && reads(r) {
			return s.cors(next)(c)
		}
		c.Response().Header().Add(echo.HeaderVary, echo.HeaderOrigin)
	}
	if s.foreign(r) && !s.opensDocument(c) {
		return errOtherSite
	}
	return next(c)
}

// reads reports whether a request is one that an allowed origin may send: it reads, or asks whether it may.
func reads(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodOptions:
		return r.Header.Get(echo.HeaderAccessControlRequestMethod) != ""
	case http.MethodPost:
		return isQuery(r)
	}
	return false
}

// foreign reports whether a page of another site, or one whose site is unknown, sent a request. Programs send none of
// these headers. A browser sends each at most once, and no page can set them, so what is unusual is foreign.
func (s *sites) foreign(r *http.Request) bool {
	site, fetchMetadata := r.Header["Sec-Fetch-Site"]
	origin, hasOrigin := r.Header["Origin"]
	switch {
	case len(origin) == 1 && s.external != "" && strings.ToLower(origin[0]) == s.external:
		return false // our page, under whatever address the proxy sent the request on
	case fetchMetadata:
		return len(site) != 1 || site[0] != "same-origin" && site[0] != "none"
	case hasOrigin:
		return len(origin) != 1 || !s.ours(origin[0], r.Host)
	}
	// A browser without Fetch Metadata, or one that reaches us over plain HTTP from another machine. A page can
	// withhold the Referer, but it cannot replace it.
	referers := r.Header["Referer"]
	return len(referers) > 1 || len(referers) == 1 && referers[0] != "" && !s.ours(referers[0], r.Host)
}

// ours reports whether an address is on the server that a request was sent to.
func (s *sites) ours(address, host string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (strings.EqualFold(u.Host, host) || s.external != "" && originOf(u) == s.external)
}

// opensDocument reports whether a request opens the page or the documentation in a tab of its own, as a link in a
// message does. Neither runs anything that the link brings.
func (s *sites) opensDocument(c echo.Context) bool {
	r := c.Request()
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !s.documents[c.Path()] {
		return false
	}
	if _, fetchMetadata := r.Header["Sec-Fetch-Site"]; !fetchMetadata {
		_, scripted := r.Header["Origin"] // which a browser does not send when it follows a link
		return !scripted
	}
	return slices.Equal(r.Header["Sec-Fetch-Mode"], []string{"navigate"}) && slices.Equal(r.Header["Sec-Fetch-Dest"], []string{"document"})
}

// validateOrigin returns why s is not an origin as browsers send it.
func validateOrigin(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil: // whose text has the address, maybe with a password
		return errors.New("not of the form scheme://host[:port]")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", strings.ContainsAny(u.Host, "*?"),
		strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("%q is not of the form scheme://host[:port] with http or https and without wildcards", u.Redacted())
	case u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return fmt.Errorf("%q has more than scheme://host[:port]: remove the rest", u.Redacted())
	case originOf(u) != strings.ToLower(s):
		return fmt.Errorf("%q: browsers send %q", u.Redacted(), originOf(u))
	}
	return nil
}
