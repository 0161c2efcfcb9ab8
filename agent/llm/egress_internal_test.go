package llm

import (
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIsLocal(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "10.0.0.1": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true,
		"169.254.1.1": true, "fe80::1": true, "fd00::1": true, "::ffff:10.1.2.3": true, "0.0.0.0": true,
		"8.8.8.8": false, "172.32.0.1": false, "192.169.0.1": false, "100.64.0.1": false, "192.0.2.1": false, "2001:db8::1": false,
		"::ffff:8.8.8.8": false, "64:ff9b::a00:1": false, "2002:a00:1::": false, "fec0::1": false, "224.0.0.1": false,
	} {
		require.Equal(t, want, isLocal(netip.MustParseAddr(address)), address)
	}
}

// TestLocalTransport dials addresses that are outside whatever they look like. Nothing is sent: the dialer refuses.
func TestLocalTransport(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	transport := newTransport(30*time.Second, true)
	require.Nil(t, transport.Proxy)
	for _, address := range []string{"192.0.2.1:80", "[::ffff:192.0.2.1]:80", "[2001:db8::1]:443", "192.0.2.1:http"} {
		_, err := transport.DialContext(t.Context(), "tcp", address)
		require.ErrorIs(t, err, errEgress, address)
	}
	b, err := newBackend(Ollama, Endpoint{BaseURL: "http://192.0.2.1/v1", Model: "m", CoderModel: "m"}, 30*time.Second, 30*time.Second, true)
	require.NoError(t, err)
	_, err = b.ListModels(t.Context())
	require.ErrorContains(t, err, errEgress.Error())
	require.NotNil(t, newTransport(time.Second, false).Proxy)
	p, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "http", Host: "192.0.2.1"}})
	require.NoError(t, err)
	require.NotNil(t, p, "the environment has a proxy")
}

func TestEgressOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"default":          {func(*Options) {}, ""},
		"unknown":          {func(o *Options) { o.Egress = "none" }, `agent.egress: unknown value "none"`},
		"private":          {func(o *Options) { o.Ollama.BaseURL = "http://10.1.2.3:11434" }, ""},
		"name":             {func(o *Options) { o.Ollama.BaseURL = "http://gpu.example:11434" }, ""},
		"public":           {func(o *Options) { o.Ollama.BaseURL = "http://192.0.2.1:11434" }, "agent.ollama.base_url: 192.0.2.1:11434 is not on this machine"},
		"mapped":           {func(o *Options) { o.Ollama.BaseURL = "http://[::ffff:192.0.2.1]" }, "agent.ollama.base_url"},
		"nvidia":           {func(o *Options) { o.Backend = NVIDIA }, "agent.nvidia.base_url: integrate.api.nvidia.com"},
		"openai":           {func(o *Options) { o.Backend = OpenAI }, "agent.openai.base_url: api.openai.com"},
		"openai with dot":  {func(o *Options) { o.Backend, o.OpenAI.BaseURL = OpenAI, "https://API.openai.com./v1" }, "agent.openai.base_url"},
		"openai elsewhere": {func(o *Options) { o.Backend, o.OpenAI.BaseURL = OpenAI, "http://127.0.0.1:8000/v1" }, ""},
		"fallback":         {func(o *Options) { o.OpenAI.APIKey = "k" }, ""},
		"cloud":            {func(o *Options) { o.Ollama.Model = "gpt-oss:120b-cloud" }, "agent.ollama.model: gpt-oss:120b-cloud runs at ollama.com"},
		"cloud tag":        {func(o *Options) { o.Ollama.CoderModel = "user/glm-4.6:Cloud" }, "agent.ollama.coder_model"},
		"not the cloud":    {func(o *Options) { o.Ollama.Model = "cloudy:7b" }, ""},
	} {
		o := DefaultOptions()
		o.Egress = EgressLocal
		tc.change(&o)
		err := o.Validate()
		if tc.want == "" {
			require.NoError(t, err, name)
			require.Len(t, o.Destinations(), 1, name)
		} else {
			require.ErrorContains(t, err, tc.want, name)
		}
	}
	o := DefaultOptions()
	o.OpenAI.APIKey = "k"
	require.Equal(t, []Destination{{Ollama, "localhost:11434", false}, {OpenAI, "api.openai.com", true}}, o.Destinations())
}
