package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/cyberviser/hancock/alerting"
)

// printRules prints the built-in rules that the configuration leaves, for
// another Prometheus.
func printRules(inv invocation, stdout io.Writer) error {
	opts, err := compose(inv.config)
	if err != nil {
		return usageError{err}
	}
	if opts.alerting.ExternalURL = opts.web.ExternalURL; opts.alerting.ExternalURL == nil {
		if opts.alerting.ExternalURL, err = url.Parse(listenURL(inv.config)); err != nil {
			return usageError{fmt.Errorf("web.listen_address: %w", unwrapURL(err))}
		}
	}
	text, err := opts.alerting.Export()
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// rulesExport serves the built-in rules that are evaluated now.
type rulesExport struct{ current func() alerting.Options }

// Register mounts the export.
func (r rulesExport) Register(e *echo.Echo) {
	e.Match([]string{http.MethodGet, http.MethodHead}, "/rules.yml", r.serve)
}

func (r rulesExport) serve(c echo.Context) error {
	text, err := r.current().Export()
	if err != nil {
		return fmt.Errorf("exporting the built-in rules: %w", err)
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.Blob(http.StatusOK, "text/yaml; charset=utf-8", []byte(text))
}
