package agent

// topList finds the busiest of any number of keys with memory for n of them
// (Misra and Gries' algorithm): a key that makes more than one in n+1 of all
// adds is always in it, and a crowd of keys that come once pushes out only
// what has become quiet. It is not safe for concurrent use.
type topList struct {
	n      int
	counts map[string]int
}

func newTopList(n int) *topList { return &topList{n: n, counts: make(map[string]int, n)} }

// add counts one occurrence. It tells whether the key is in the list now, and
// which keys have left it.
func (l *topList) add(key string) (kept bool, dropped []string) {
	if _, ok := l.counts[key]; ok || len(l.counts) < l.n {
		l.counts[key]++
		return true, nil
	}
	for k := range l.counts {
		if l.counts[k]--; l.counts[k] == 0 {
			delete(l.counts, k)
			dropped = append(dropped, k)
		}
	}
	return false, dropped
}
