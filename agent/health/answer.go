package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// mediaType is that of the IETF's draft of a health format for HTTP APIs.
const mediaType = "application/health+json"

// Register mounts GET /health: 200 while something can answer, else 503. The
// Age header tells how many seconds ago the look was. Who accepts
// application/health+json gets the checks in that form.
func (c *Checker) Register(e *echo.Echo) {
	h := func(ec echo.Context) error {
		r := c.current(c.now.Load().opts.CacheTTL)
		header := ec.Response().Header()
		// Nothing in between may answer for a process that is dead.
		header.Set(echo.HeaderCacheControl, "no-store")
		header.Set("Age", strconv.Itoa(int(max(c.deps.Now().Sub(r.taken), 0).Seconds())))
		header.Add(echo.HeaderVary, echo.HeaderAccept)
		code := http.StatusOK
		if r.report.Status == Error {
			code = http.StatusServiceUnavailable
		}
		if !wantsHealthJSON(ec.Request().Header.Values(echo.HeaderAccept)) {
			return ec.JSON(code, r.report)
		}
		body, err := json.Marshal(r.draft())
		if err != nil {
			return fmt.Errorf("encoding the health: %w", err)
		}
		return ec.Blob(code, mediaType, body)
	}
	e.GET("/health", h)
	e.HEAD("/health", h)
}

// wantsHealthJSON tells whether a client names that form, and does not like
// plain JSON better.
func wantsHealthJSON(accept []string) bool {
	health, plain := 0.0, 0.0
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(item, ";")
		quality := 1.0
		for param := range strings.SplitSeq(params, ";") {
			if q, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(param)), "q="); ok {
				quality, _ = strconv.ParseFloat(q, 64) // 0 for nonsense
			}
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case mediaType:
			health = quality
		case echo.MIMEApplicationJSON:
			plain = quality
		}
	}
	return health > 0 && health >= plain
}

// The answer in the draft's form.
type (
	draftReport struct {
		Status      string                  `json:"status"` // pass, warn or fail
		Description string                  `json:"description"`
		Output      string                  `json:"output,omitempty"`
		Checks      map[string][]draftCheck `json:"checks"`
	}
	draftCheck struct {
		ComponentID   string   `json:"componentId"`
		ComponentType string   `json:"componentType"`
		Status        string   `json:"status"`
		Time          string   `json:"time"`
		ObservedValue *float64 `json:"observedValue,omitempty"`
		ObservedUnit  string   `json:"observedUnit,omitempty"`
		Output        string   `json:"output,omitempty"`
	}
)

func (r *result) draft() draftReport {
	d := draftReport{
		Status: r.report.Status.draft(), Description: "health of " + r.report.Agent,
		Checks: make(map[string][]draftCheck, len(r.report.Checks)),
	}
	if r.report.Status != OK {
		d.Output = r.report.String()
	}
	for name, check := range r.report.Checks {
		dc := draftCheck{
			ComponentID: name, ComponentType: "component", Status: check.Status.draft(),
			Time: r.taken.UTC().Format(time.RFC3339),
		}
		switch name {
		case memoryCheck, diskCheck:
			dc.ComponentType = "system"
		case samplesCheck:
			dc.ComponentType = "datastore"
		}
		if check.Status != OK {
			dc.Output = check.Detail
		}
		key := name
		if o := check.observed; o != nil {
			key += ":" + o.name
			dc.ObservedValue, dc.ObservedUnit = &o.value, o.unit
		}
		d.Checks[key] = append(d.Checks[key], dc)
	}
	return d
}

// draft is the status in the draft's words.
func (s Status) draft() string {
	switch s {
	case OK:
		return "pass"
	case Degraded:
		return "warn"
	default:
		return "fail"
	}
}
