package health

import (
	"context"
	"errors"
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
	// Model is the id of the model that must be there, CoderModel that of
	// the one for code tasks.
	Model() string
	CoderModel() string
	// ListModels asks for the ids of the models. Its errors hold no secret.
	ListModels(context.Context) ([]string, error)
	// Traffic tells when calls last succeeded and last failed, zero for never,
	// and how long the one that succeeded took, until its first token if it
	// was a stream.
	Traffic() (succeeded, failed time.Time, latency time.Duration)
}

// checkBackend believes what real traffic saw in the last minutes, and looks
// only where there was none or where it failed.
func (c *Checker) checkBackend(ctx context.Context, b Backend, trafficAge time.Duration) Check {
	now := c.deps.Now()
	succeeded, failed, latency := b.Traffic()
	fresh := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) < trafficAge }
	if fresh(succeeded) && !failed.After(succeeded) {
		check := answeredIn(latency)
		check.Detail = "answered " + ago(now, succeeded)
		return check
	}
	ids, err := b.ListModels(ctx)
	if err != nil {
		hint := ""
		if b.Name() == ollama {
			hint = "; is it running? start it with: ollama serve"
		}
		return Check{Status: Error, Detail: public(err) + hint, logged: err.Error() + hint}
	}
	check := answeredIn(c.deps.Now().Sub(now))
	switch model, coder := b.Model(), b.CoderModel(); {
	case !hasModel(b, ids, model):
		check.Status, check.Detail = Degraded, missing(b, model)
		// Hosted services answer with models that they do not list.
		if b.Name() == ollama {
			check.Status = Error
		}
	case fresh(failed):
		check.Status, check.Detail = Degraded, "reachable, but a call failed "+ago(now, failed)
	case coder != "" && !hasModel(b, ids, coder):
		check.Status, check.Detail = Degraded, missing(b, coder)+"; code tasks need it"
	}
	return check
}

// answeredIn is the check of a backend that is well and took that long.
func answeredIn(took time.Duration) Check {
	ms := took.Milliseconds()
	return Check{
		Status: OK, LatencyMS: &ms,
		observed: &observation{"responseTime", "ms", float64(took.Microseconds()) / 1000},
	}
}

// public is what strangers may know of an error.
func public(err error) string {
	var e interface{ Public() string }
	if errors.As(err, &e) {
		return e.Public()
	}
	return err.Error()
}

// missing says what is wrong, and of a backend that its users run what to do.
func missing(b Backend, model string) string {
	if b.Name() == ollama {
		return fmt.Sprintf("model %s is not there; get it with: ollama pull %s", model, model)
	}
	return fmt.Sprintf("model %s is not listed", model)
}

// hasModel knows that Ollama lists an untagged model as latest.
func hasModel(b Backend, ids []string, model string) bool {
	if slices.Contains(ids, model) {
		return true
	}
	return b.Name() == ollama && !strings.Contains(model, ":") && slices.Contains(ids, model+":latest")
}

func ago(now, t time.Time) string {
	return max(now.Sub(t), 0).Truncate(time.Second).String() + " ago"
}
