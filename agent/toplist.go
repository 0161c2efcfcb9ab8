package agent

// topList gives places to the first n keys that were added often. A place is
// for the life of the list, so that no more than n keys ever have one: each is
// a label value, of which a metrics store keeps all that there ever were. Of
// those without a place it counts the busiest with bounded memory (Misra and
// Gries' algorithm), so that a crowd of keys that come once gets none. It is
// not safe for concurrent use.
type topList struct {
	n      int // places
	often  int // how many adds a place takes
	places map[string]struct{}
	counts map[string]int // of keys without a place
}

// candidates is how many keys without a place are counted.
const candidates = 1024

func newTopList(n, often int) *topList {
	return &topList{n: n, often: often, places: make(map[string]struct{}, n), counts: make(map[string]int)}
}

// add counts one occurrence. It tells whether the key has a place now.
func (l *topList) add(key string) bool {
	if _, ok := l.places[key]; ok {
		return true
	}
	if len(l.places) == l.n {
		return false
	}
	if _, ok := l.counts[key]; !ok && len(l.counts) == candidates {
		for k := range l.counts {
			if l.counts[k]--; l.counts[k] == 0 {
				delete(l.counts, k)
			}
		}
		return false
	}
	if l.counts[key]++; l.counts[key] < l.often {
		return false
	}
	l.places[key] = struct{}{}
	delete(l.counts, key)
	if len(l.places) == l.n {
		l.counts = nil // nobody else gets one
	}
	return true
}
