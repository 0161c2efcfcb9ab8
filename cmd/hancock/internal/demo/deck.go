package demo

import "math/rand/v2"

// kind is one sort of request that clients of the demo send.
type kind int

const (
	chatWhole kind = iota
	chatStream
	ask
	listAgents
	// The rest is wrong on purpose.
	unknownMode
	missingMessage
	malformedJSON
	unknownPath
	wrongContentType
)

// The routes as the process counts them; [otherEndpoint] stands for every path it does not know.
const (
	chatEndpoint   = "/v1/chat"
	askEndpoint    = "/v1/ask"
	agentsEndpoint = "/v1/agents"
	otherEndpoint  = "other"
	invalidMode    = "invalid"
)

// outcome is how the process answers and counts a kind of request when the backend is well.
type outcome struct {
	method, endpoint string
	status           int
	mode             string // counted mode where it does not depend on the request
	modeless         bool   // the endpoint has no mode
	usesModel        bool
}

// outcomes is what the generated history believes; a test asks the real handlers.
func (k kind) outcome() outcome {
	switch k {
	case chatWhole, chatStream:
		return outcome{method: "POST", endpoint: chatEndpoint, status: 200, usesModel: true}
	case ask:
		return outcome{method: "POST", endpoint: askEndpoint, status: 200, usesModel: true}
	case listAgents:
		return outcome{method: "GET", endpoint: agentsEndpoint, status: 200, modeless: true}
	case unknownMode, malformedJSON:
		return outcome{method: "POST", endpoint: chatEndpoint, status: 400, mode: invalidMode}
	case missingMessage:
		return outcome{method: "POST", endpoint: askEndpoint, status: 400}
	case wrongContentType:
		return outcome{method: "POST", endpoint: askEndpoint, status: 415, mode: invalidMode}
	default:
		return outcome{method: "POST", endpoint: otherEndpoint, status: 404, modeless: true}
	}
}

// draw is one request: its kind, its mode and which of the mode's questions it asks.
type draw struct {
	kind     kind
	mode     string
	question int
}

// modeShares says how many of a hundred questions go to a mode.
var modeShares = [...]struct {
	mode  string
	share int
}{
	{"auto", 22}, {"soc", 21}, {"pentest", 13}, {"code", 12}, {"ioc", 9}, {"sigma", 8}, {"ciso", 6}, {"yara", 5}, {"osint", 4},
}

// deck deals requests at random, yet so that of fifty in a row one is wrong: drawn independently, the
// wrong ones would now and then come in clusters that look like an incident.
type deck struct {
	rng   *rand.Rand
	cards []kind
	wrong int // next kind that is wrong on purpose
}

func newDeck(rng *rand.Rand) *deck { return &deck{rng: rng} }

func (d *deck) next() draw {
	if len(d.cards) == 0 {
		d.shuffle()
	}
	last := len(d.cards) - 1
	k := d.cards[last]
	d.cards = d.cards[:last]
	return draw{kind: k, mode: d.mode(), question: d.rng.IntN(1 << 16)}
}

func (d *deck) shuffle() {
	for range 16 {
		d.cards = append(d.cards, chatWhole, chatStream)
	}
	for range 16 {
		d.cards = append(d.cards, ask)
	}
	d.cards = append(d.cards, listAgents, unknownMode+kind(d.wrong))
	d.wrong = (d.wrong + 1) % int(wrongContentType-unknownMode+1)
	d.rng.Shuffle(len(d.cards), func(i, j int) { d.cards[i], d.cards[j] = d.cards[j], d.cards[i] })
}

func (d *deck) mode() string {
	n := d.rng.IntN(100)
	for _, s := range modeShares {
		if n -= s.share; n < 0 {
			return s.mode
		}
	}
	return "auto"
}
