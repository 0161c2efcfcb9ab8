package config

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Duration is a length of time in Prometheus' notation: 15s, 2m, 15d.
type Duration time.Duration

// String is the duration in the notation that Set reads.
func (d Duration) String() string { return model.Duration(d).String() }

// Set parses s.
func (d *Duration) Set(s string) error {
	v, err := model.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s, 5m or 15d", s)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalYAML parses the scalar n.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error { return setScalar(n, d.Set) }

// Bytes is a number of bytes, written with a power-of-two unit: 512MiB, 1GB.
// Both spellings mean 1024, as in Prometheus' flags.
type Bytes int64

// String is the size in the notation that Set reads.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, u := range []struct {
		size Bytes
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// Set parses s.
func (b *Bytes) Set(s string) error {
	if s == "0" {
		*b = 0
		return nil
	}
	v, err := units.ParseBase2Bytes(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a size such as 512MiB or 10GiB", s)
	}
	*b = Bytes(v)
	return nil
}

// UnmarshalYAML parses the scalar n.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error { return setScalar(n, b.Set) }

// setScalar gives the text of n to set and adds the line to its error.
func setScalar(n *yaml.Node, set func(string) error) error {
	if n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: a single value is wanted here", n.Line)}}
	}
	if err := set(n.Value); err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", n.Line, err)}}
	}
	return nil
}

// seconds reads a duration that may also be a plain number of seconds, as the
// environment of the original service gave it.
func (d *Duration) seconds(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return d.Set(s)
	}
	if !(n > 0 && n < float64(math.MaxInt64/int64(time.Second))) {
		return fmt.Errorf("%q is not a positive number of seconds", s)
	}
	*d = Duration(n * float64(time.Second))
	return nil
}
