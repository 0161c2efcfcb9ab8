package demo

import (
	"embed"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

//go:embed catalog/*.md
var catalogFiles embed.FS

// notice ends every answer, so that a screenshot of one cannot be taken for a model's.
const notice = "\n\n(Simulated answer of the Hancock demo: no model was asked.)"

// autoMode is the mode of a generalist.
const autoMode = "auto"

// modes are the nine modes, the generalist's last.
var modes = [...]string{"sigma", "yara", "ioc", "osint", "ciso", "pentest", "soc", "code", autoMode}

// entry is one question with the answer written for it.
type entry struct {
	question string
	words    map[string]bool // what a question is compared with: the question's words and the keywords
	answer   string
}

// catalog holds what the simulated backend can say and what the simulated clients ask, by mode.
// It is immutable after loadCatalog.
type catalog struct {
	byMode map[string][]entry
}

// loadCatalog reads the embedded files, one for each mode.
func loadCatalog() (*catalog, error) {
	c := &catalog{byMode: make(map[string][]entry, len(modes))}
	for _, mode := range modes {
		text, err := catalogFiles.ReadFile("catalog/" + mode + ".md")
		if err != nil {
			return nil, fmt.Errorf("reading catalog: %w", err)
		}
		entries, err := parseCatalog(string(text))
		if err != nil {
			return nil, fmt.Errorf("catalog of mode %s: %w", mode, err)
		}
		c.byMode[mode] = entries
	}
	return c, nil
}

// parseCatalog reads entries of the form "## question", "keywords: a, b", answer.
func parseCatalog(text string) ([]entry, error) {
	var entries []entry
	for i, part := range strings.Split("\n"+text, "\n## ") {
		if i == 0 {
			if strings.TrimSpace(part) != "" {
				return nil, errors.New("text before the first question")
			}
			continue
		}
		question, rest, _ := strings.Cut(part, "\n")
		keys, answer, _ := strings.Cut(rest, "\n")
		list, ok := strings.CutPrefix(keys, "keywords:")
		question, answer = strings.TrimSpace(question), strings.TrimSpace(answer)
		if !ok || question == "" || answer == "" {
			return nil, fmt.Errorf("entry %d: a question, a keywords line or an answer is missing", i)
		}
		e := entry{question: question, words: words(question + " " + list), answer: answer}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, errors.New("no question")
	}
	return entries, nil
}

// words is the set of lower-case words of three letters or digits and more in s.
func words(s string) map[string]bool {
	set := make(map[string]bool)
	for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		if len(w) >= 3 {
			set[w] = true
		}
	}
	return set
}

// answer is the written answer that shares most words with question: among those of mode, or of all
// modes when mode is auto, which answers as the specialist would. Where none shares any, pick chooses
// one of mode's: any number of 0 or more.
func (c *catalog) answer(mode, question string, pick int) string {
	own := c.byMode[mode]
	best, bestScore := own[pick%len(own)], 0
	search := []string{mode}
	if mode == autoMode {
		search = append(search, modes[:len(modes)-1]...)
	}
	asked := words(question)
	for _, m := range search {
		for _, e := range c.byMode[m] {
			score := 0
			for w := range asked {
				if e.words[w] {
					score++
				}
			}
			if score > bestScore {
				best, bestScore = e, score
			}
		}
	}
	return best.answer + notice
}

// signs are the words by which a system prompt tells its mode.
func signs() map[string][]string {
	return map[string][]string{
		"sigma":   {"sigma", "detection engineer"},
		"yara":    {"yara", "malware analyst"},
		"ioc":     {"indicators of compromise", "indicator of compromise", "ioc", "iocs", "indicators"},
		"osint":   {"osint", "open source intelligence"},
		"ciso":    {"ciso", "chief information security officer", "board"},
		"pentest": {"pentest", "penetration tester", "penetration test", "penetration testing", "red team"},
		"soc":     {"soc", "incident responder", "incident response", "triage"},
		"code":    {"code", "coding", "programmer", "software"},
	}
}

// modeOf guesses the mode from a system prompt: from its line that begins with "Role:", else from its
// first sentence; other modes are often mentioned further down. It is auto where nothing is found, or
// two modes as often.
func modeOf(system string) string {
	intro, _, _ := strings.Cut(system, ". ")
	for line := range strings.Lines(system) {
		if strings.HasPrefix(line, "Role:") {
			intro = line
			break
		}
	}
	intro = spaced(intro)
	best, bestScore := autoMode, 0
	for mode, list := range signs() {
		score := 0
		for _, sign := range list {
			score += strings.Count(intro, " "+sign+" ")
		}
		switch {
		case score > bestScore:
			best, bestScore = mode, score
		case score == bestScore:
			best = autoMode
		}
	}
	return best
}

// spaced is s in lower case with each run of other characters than letters and digits as one blank,
// and a blank at both ends, so that whole words can be searched.
func spaced(s string) string {
	fields := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	return " " + strings.Join(fields, " ") + " "
}
