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

// modes are the nine specialist modes, in the order in which ties between them are decided.
var modes = [...]string{"sigma", "yara", "ioc", "osint", "ciso", "pentest", "soc", "code", "auto"}

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

// answer is the written answer of mode that shares most words with question. Where none shares any,
// pick chooses: any number of 0 or more.
func (c *catalog) answer(mode, question string, pick int) string {
	entries := c.byMode[mode]
	asked := words(question)
	best, bestScore := pick%len(entries), 0
	for i, e := range entries {
		score := 0
		for w := range asked {
			if e.words[w] {
				score++
			}
		}
		if score > bestScore {
			best, bestScore = i, score
		}
	}
	return entries[best].answer + notice
}

// signs are the words by which a system prompt or a question tells its mode, with their weights.
var signs = map[string]map[string]int{
	"sigma":   {"sigma": 8, "logsource": 4, "detection rule": 2},
	"yara":    {"yara": 8, "malware": 1, "strings": 1},
	"ioc":     {"indicators of compromise": 6, "indicator": 3, "ioc": 4, "iocs": 2, "enrichment": 3, "enrich": 3, "reputation": 2},
	"osint":   {"osint": 8, "open-source intelligence": 6, "open source intelligence": 6, "public sources": 3, "footprint": 2},
	"ciso":    {"ciso": 8, "chief information security officer": 8, "board": 3, "executive": 3, "compliance": 2, "governance": 2},
	"pentest": {"pentest": 6, "penetration": 6, "red team": 3, "exploitation": 2, "rules of engagement": 3},
	"soc":     {"soc": 5, "picerl": 5, "incident response": 3, "triage": 3, "alert": 1, "blue team": 2},
	"code":    {"secure code": 6, "coding": 4, "programmer": 4, "developer": 3, "source code": 3, "code": 3, "function": 1},
}

// modeOf guesses the mode: from the system prompt, else from the question, else auto. The first
// hundred characters of a prompt count three times, as they say who is speaking; other modes may be
// mentioned further down.
func modeOf(system, question string) string {
	for _, text := range []string{system, question} {
		text = spaced(text)
		head := text[:min(len(text), 100)]
		best, bestScore, second := "auto", 0, 0
		for _, mode := range modes {
			score := 0
			for sign, weight := range signs[mode] {
				if sign = spaced(sign); strings.Contains(text, sign) {
					score += weight
				}
				if strings.Contains(head, sign) {
					score += 2 * weight
				}
			}
			switch {
			case score > bestScore:
				best, bestScore, second = mode, score, bestScore
			case score > second:
				second = score
			}
		}
		if bestScore >= 3 && bestScore >= second+3 {
			return best
		}
	}
	return "auto"
}

// spaced is s in lower case with each run of other characters than letters and digits as one blank,
// and a blank at both ends, so that whole words can be searched.
func spaced(s string) string {
	fields := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	return " " + strings.Join(fields, " ") + " "
}
