package rulecheck

import "strings"

// Suggest returns the one of names that was probably meant by name: the nearest one, or one that differs in the suffix
// for the kind or the unit only. It is empty if none comes near.
func Suggest(name string, names []string) string {
	const longest = 200
	if len(name) > longest {
		return ""
	}
	best, limit := "", 1+len(name)/8
	if len(name) > 4 {
		limit = max(limit, 2)
	}
	distance := limit + 1
	for _, n := range names {
		if n == name || len(n) > longest {
			continue
		}
		if d := editDistance(name, n, limit); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return best
	}
	for _, n := range names {
		for _, suffix := range [...]string{"_total", "_seconds", "_bytes", "_bucket", "_count", "_sum", "_info", "_ratio"} {
			if strings.TrimSuffix(n, suffix) == strings.TrimSuffix(name, suffix) && n != name {
				return n
			}
		}
	}
	return ""
}

// editDistance is the number of bytes to insert, delete, replace or swap with the next one to make a into b, or more
// than limit when it is more than limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > limit {
			return limit + 1
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
