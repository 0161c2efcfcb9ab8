package llm

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The names of the backends, as HANCOCK_LLM_BACKEND takes them.
const (
	Ollama = "ollama"
	NVIDIA = "nvidia"
	OpenAI = "openai"
)

// Endpoint is one OpenAI-compatible server.
type Endpoint struct {
	// BaseURL is what "chat/completions" is appended to. Ollama's is given
	// without its /v1, which is added.
	BaseURL string
	// APIKey is sent as a bearer token to this endpoint and to no other;
	// empty for none.
	APIKey string
	// Organization is OpenAI's organisation header; empty for none.
	Organization string
	// Model answers everything but code tasks, CoderModel those. Both may be
	// one of the short names of the backend's aliases.
	Model, CoderModel string
}

// Options choose the backend and say how long it may take.
type Options struct {
	// Backend is Ollama, NVIDIA or OpenAI.
	Backend string
	// Ollama, NVIDIA and OpenAI are the endpoints. Only the chosen one is
	// asked, and OpenAI as its fallback when it has an API key.
	Ollama, NVIDIA, OpenAI Endpoint
	// Egress is EgressAny, or EgressLocal for backends on this machine or in a private network only: no other address is
	// connected to, no proxy is used, no model that Ollama passes on to its vendor, and there is no fallback.
	Egress string
	// Timeout is how long one backend may take for a whole answer, and in a
	// stream for the first piece and between two pieces. A whole stream ends
	// after ten times as long.
	Timeout time.Duration
	// ConnectTimeout is how long connecting, TLS included, may take.
	ConnectTimeout time.Duration
	// MaxRetries is how often the chosen backend is asked again after a failure
	// that may pass; 0 for never. All of it happens within Timeout. The
	// fallback is asked once.
	MaxRetries int
	// RetryWait is how long the first retry waits, half of it by chance. Each
	// further one waits twice as long, up to maxRetryWait, and none less than
	// the backend asked for.
	RetryWait time.Duration
	// MaxInFlight is how many requests may be in progress, those that wait
	// for a retry among them. Those beyond it fail at once with ErrBusy.
	MaxInFlight int
}

// DefaultOptions ask an Ollama on this machine.
func DefaultOptions() Options {
	return Options{
		Backend: Ollama,
		Egress:  EgressAny,
		Ollama: Endpoint{
			BaseURL:    "http://localhost:11434",
			Model:      "llama3.1:8b",
			CoderModel: "qwen2.5-coder:7b",
		},
		NVIDIA: Endpoint{
			BaseURL:    "https://integrate.api.nvidia.com/v1",
			Model:      "mistralai/mistral-7b-instruct-v0.3",
			CoderModel: "qwen/qwen2.5-coder-32b-instruct",
		},
		OpenAI: Endpoint{
			BaseURL:    "https://api.openai.com/v1",
			Model:      "gpt-4o-mini",
			CoderModel: "gpt-4o",
		},
		Timeout:        120 * time.Second,
		ConnectTimeout: 10 * time.Second,
		MaxRetries:     2,
		RetryWait:      250 * time.Millisecond,
		MaxInFlight:    64,
	}
}

// Validate reports the first setting that no client can be made from. The
// names in its errors are those of the configuration file; no error shows a
// key or a password.
func (o Options) Validate() error {
	if o.Timeout <= 0 {
		return fmt.Errorf("agent.timeout: must be longer than 0, is %s", o.Timeout)
	}
	if o.ConnectTimeout <= 0 {
		return fmt.Errorf("agent.connect_timeout: must be longer than 0, is %s", o.ConnectTimeout)
	}
	if o.MaxRetries < 0 || o.MaxRetries > maxRetries {
		return fmt.Errorf("agent.max_retries: must be from 0 to %d, is %d", maxRetries, o.MaxRetries)
	}
	if o.RetryWait <= 0 {
		return fmt.Errorf("agent.retry_wait: must be longer than 0, is %s", o.RetryWait)
	}
	if o.MaxInFlight < 1 {
		return fmt.Errorf("agent.max_in_flight: must be at least 1, is %d", o.MaxInFlight)
	}
	names, err := o.inUse()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := o.endpoint(name).validate(); err != nil {
			return fmt.Errorf("agent.%s.%w", name, err)
		}
		if err := o.checkEgress(name); err != nil {
			return err
		}
	}
	return nil
}

// inUse are the backends that may be asked, in the order in which they are.
func (o Options) inUse() ([]string, error) {
	switch o.Backend {
	case OpenAI:
		return []string{OpenAI}, nil
	case Ollama, NVIDIA:
		if o.OpenAI.APIKey == "" || o.Egress == EgressLocal {
			return []string{o.Backend}, nil
		}
		return []string{o.Backend, OpenAI}, nil
	default:
		return nil, fmt.Errorf("agent.backend: unknown backend %q; valid: %s, %s, %s", o.Backend, Ollama, NVIDIA, OpenAI)
	}
}

// endpoint is the endpoint of that name with its URL completed and its aliases
// resolved.
func (o Options) endpoint(name string) Endpoint {
	var e Endpoint
	switch name {
	case Ollama:
		e = o.Ollama
		if base := strings.TrimRight(e.BaseURL, "/"); !strings.HasSuffix(base, "/v1") {
			e.BaseURL = base + "/v1"
		}
	case NVIDIA:
		e = o.NVIDIA
	default:
		e = o.OpenAI
	}
	e.Model, e.CoderModel = resolve(name, e.Model), resolve(name, e.CoderModel)
	return e
}

func (e Endpoint) validate() error {
	u, err := url.Parse(e.BaseURL)
	switch {
	case err != nil:
		// The parser's error quotes the URL, which may hold a password.
		return errors.New("base_url: not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("base_url: must be an http or https URL with a host")
	case u.User != nil:
		return errors.New("base_url: must not hold a user or password; use the API key")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("base_url: must have no query or fragment")
	case e.Model == "":
		return errors.New("model: must not be empty")
	case e.CoderModel == "":
		return errors.New("coder_model: must not be empty")
	case strings.ContainsAny(e.APIKey, "\r\n\x00"):
		return errors.New("api_key: holds a line break")
	case strings.ContainsAny(e.Organization, "\r\n\x00"):
		return errors.New("organization: holds a line break")
	}
	return nil
}

// Aliases are the short names of a backend's models and the ids that they stand for.
func Aliases(backend string) map[string]string {
	switch backend {
	case Ollama:
		return map[string]string{
			"llama3.1":   "llama3.1:8b",
			"llama3.2":   "llama3.2:3b",
			"mistral":    "mistral:7b",
			"qwen-coder": "qwen2.5-coder:7b",
			"gemma3":     "gemma3:12b",
		}
	case NVIDIA:
		return map[string]string{
			"nim-mistral": "mistralai/mistral-7b-instruct-v0.3",
			"nim-qwen":    "qwen/qwen2.5-coder-32b-instruct",
			"nim-llama":   "meta/llama-3.1-8b-instruct",
		}
	default:
		return nil
	}
}

// resolve turns a short name of a model into the id that the backend knows.
func resolve(backend, model string) string {
	if id, ok := Aliases(backend)[model]; ok {
		return id
	}
	return model
}
