package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ollama is the name of the backend whose users run it themselves, so that
// the detail can tell them what to do.
const ollama = "ollama"

// Backend models an LLM backend as far as its health goes. Nothing here runs
// a model: that costs money, and a model that is busy is not dead.
type Backend interface {
	// Name is the name of the check: ollama, nvidia_nim or openai.
	Name() string
	// Model is the id of the model that must be there.
	Model() string
	// ListModels asks for the ids of the models. Its errors hold no secret.
	ListModels(context.Context) ([]string, error)
	// Traffic tells when calls last succeeded and last failed, zero for never.
	Traffic() (succeeded, failed time.Time)
}

// checkBackend believes what real traffic saw in the last minute, and looks
// only where there was none or where it failed.
func (c *Checker) checkBackend(ctx context.Context, b Backend) Check {
	now := c.deps.Now()
	succeeded, failed := b.Traffic()
	fresh := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) < c.opts.TrafficAge }
	if fresh(succeeded) && !failed.After(succeeded) {
		return Check{Status: OK, Detail: "answered " + ago(now, succeeded)}
	}
	start := time.Now()
	ids, err := b.ListModels(ctx)
	latency := time.Since(start).Milliseconds()
	if err != nil {
		detail := err.Error()
		if b.Name() == ollama {
			detail += "; is it running? start it with: ollama serve"
		}
		return Check{Status: Error, Detail: detail}
	}
	switch {
	case !hasModel(b, ids) && b.Name() == ollama:
		return Check{Status: Error, LatencyMS: &latency, Detail: fmt.Sprintf(
			"model %s is not there; get it with: ollama pull %s", b.Model(), b.Model())}
	case !hasModel(b, ids):
		// Hosted services answer with models that they do not list.
		return Check{Status: Degraded, LatencyMS: &latency, Detail: fmt.Sprintf("model %s is not listed", b.Model())}
	case fresh(failed):
		return Check{Status: Degraded, LatencyMS: &latency, Detail: "reachable, but a call failed " + ago(now, failed)}
	default:
		return Check{Status: OK, LatencyMS: &latency}
	}
}

// hasModel knows that Ollama lists an untagged model as latest.
func hasModel(b Backend, ids []string) bool {
	if slices.Contains(ids, b.Model()) {
		return true
	}
	return b.Name() == ollama && !strings.Contains(b.Model(), ":") && slices.Contains(ids, b.Model()+":latest")
}

func ago(now, t time.Time) string {
	return max(now.Sub(t), 0).Truncate(time.Second).String() + " ago"
}
