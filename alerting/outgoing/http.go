package outgoing

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/prometheus/model/labels"
)

// Path is where the alerts that relabeling changes are listed.
const Path = "/api/hancock/alerts/outgoing"

// Changed is an active alert of a rule that Alertmanagers do not get with the labels of its rule.
type Changed struct {
	// Labels are those that its rule gave it.
	Labels map[string]string `json:"labels"`
	// Sent are those with which it is sent; they are missing if it is dropped.
	Sent map[string]string `json:"sent,omitempty"`
	// Dropped says that alert_relabel_configs keep it from being sent.
	Dropped bool `json:"dropped,omitempty"`
}

// Handler lists the active alerts that relabeling drops, or of which it changes or removes a label. Labels that are only
// added are left out: an alert with them is found by those of its rule.
type Handler struct {
	Sender *Sender
	// Active returns the labels of the alerts of all rules that are pending or firing.
	Active func() []labels.Labels
}

// Register mounts the route.
func (h Handler) Register(e *echo.Echo) { e.GET(Path, h.serve) }

func (h Handler) serve(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	changed := []Changed{}
	if r := h.Sender.Relabeling(); r != nil && len(r.configs) > 0 {
		for _, ls := range h.Active() {
			sent, keep := r.Labels(ls)
			if !keep || sent.IsEmpty() { // Alertmanager refuses an alert without labels.
				changed = append(changed, Changed{Labels: ls.Map(), Dropped: true})
			} else if !contains(sent, ls) {
				changed = append(changed, Changed{Labels: ls.Map(), Sent: sent.Map()})
			}
		}
	}
	return c.JSON(http.StatusOK, map[string][]Changed{"alerts": changed})
}

// contains reports whether all has each label of ls.
func contains(all, ls labels.Labels) bool {
	found := true
	ls.Range(func(l labels.Label) { found = found && all.Get(l.Name) == l.Value })
	return found
}
