package ui

import (
	"net/url"
	"slices"
	"strings"
)

// views are the paths of the page's views beside the dashboard. The names are those of Prometheus' own page, whose links
// stand in alerts; page/main.js opens the view by the last part of the path.
var views = [...]string{"/graph", "/query", "/targets", "/config", "/status"}

// redirects are further paths of Prometheus' page and the view that has their data.
var redirects = [...]struct{ path, to string }{
	{"/alerts", "./#/alerts"},
	{"/rules", "./#/alerts"},
	{"/silences", "./#/silences"},
	{"/service-discovery", "./targets"},
	{"/alertmanager-discovery", "./status#alertmanagers"},
	{"/flags", "./status#flags"},
	{"/tsdb-status", "./status#tsdb"},
}

// former are the prefixes below which versions of Prometheus had a second page.
var former = [...]string{"/classic", "/new"}

// Paths are those that ServeHTTP answers beside / and /assets, as routes of echo.
func Paths() []string {
	paths := slices.Clone(views[:])
	for _, r := range redirects {
		paths = append(paths, r.path)
	}
	for _, prefix := range former {
		paths = append(paths, prefix+"/*")
	}
	return paths
}

func isView(path string) bool { return slices.Contains(views[:], path) }

// redirect returns where a path leads that is not a view itself, relative to it; empty for all others.
func redirect(u *url.URL) string {
	for _, prefix := range former {
		rest, ok := strings.CutPrefix(u.Path, prefix)
		if !ok {
			continue
		}
		if isView(rest) {
			return "." + (&url.URL{Path: "." + rest, RawQuery: u.RawQuery}).String()
		}
		if to := leadsTo(rest); to != "" {
			return "." + to
		}
	}
	return leadsTo(u.Path)
}

// leadsTo returns where a path of redirects leads.
func leadsTo(path string) string {
	for _, r := range redirects {
		if path == r.path {
			return r.to
		}
	}
	return ""
}
