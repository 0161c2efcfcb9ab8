package lint

import (
	"cmp"
	"fmt"
	"log/slog"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
	"github.com/cyberviser/hancock/internal/promqlbound"
)

// rules reports rules that have the name and the labels of an earlier one, in the same file or another. One of two such
// recording rules overwrites the other's samples; two such alerts become one.
func (l *linter) rules() {
	first := map[string]string{}
	p := promqlbound.NewParser(parser.Options{ExperimentalDurationExpr: true})
	for _, f := range l.Rules {
		groups, errs := rulefmt.Parse(f.Content, false, model.UTF8Validation, p, slog.New(slog.DiscardHandler))
		if len(errs) > 0 {
			continue // The manager reports them.
		}
		document := config.ParseDocument(f.Name, f.Content)
		for gi, g := range groups.Groups {
			for ri, r := range g.Rules {
				name := cmp.Or(r.Alert, r.Record)
				key := name + "\xff" + rules.FromMaps(g.Labels, r.Labels).String()
				path := config.Path{document, "groups", gi, "rules", ri}
				if before, ok := first[key]; ok {
					l.warn(path, fmt.Sprintf("rule %s has the name and the labels of the rule at %s", name, before), "rename one, add a label or delete it")
					continue
				}
				first[key], _ = l.Config.Sources.Place(path)
			}
		}
	}
}
