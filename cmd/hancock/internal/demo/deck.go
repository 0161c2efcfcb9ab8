package demo

import "math/rand/v2"

// kind is one sort of request that clients of the demo send.
type kind int

const (
	chatWhole kind = iota
	chatStream
	ask
	triage
	webhook
	ioc
	hunt
	respond
	code
	ciso
	sigma
	yara
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
	chatEndpoint    = "/v1/chat"
	askEndpoint     = "/v1/ask"
	webhookEndpoint = "/v1/webhook"
	agentsEndpoint  = "/v1/agents"
	otherEndpoint   = "other"
	invalidMode     = "invalid"
)

// outcome is how the process answers and counts a kind of request when the backend is well.
type outcome struct {
	method, endpoint string
	status           int
	mode             string // counted mode where it does not depend on the request
	modeless         bool   // the endpoint has no mode
	usesModel        bool
	coder            bool // the endpoint asks the coder model
}

// assignment is an endpoint for one kind of work: its mode is fixed.
type assignment struct {
	path, mode string
	field      string // the request's field for the question
	cards      int    // of a deck
	coder      bool
}

// assignments are the endpoints for one kind of work, from triage to yara.
var assignments = [...]assignment{
	{path: "/v1/triage", mode: "soc", field: "alert", cards: 4},
	{path: webhookEndpoint, mode: "soc", field: "alert", cards: 3},
	{path: "/v1/ioc", mode: "ioc", field: "indicator", cards: 2},
	{path: "/v1/hunt", mode: "soc", field: "target", cards: 1},
	{path: "/v1/respond", mode: "soc", field: "incident", cards: 1},
	{path: "/v1/code", mode: "code", field: "task", cards: 2, coder: true},
	{path: "/v1/ciso", mode: "ciso", field: "question", cards: 1},
	{path: "/v1/sigma", mode: "sigma", field: "description", cards: 2},
	{path: "/v1/yara", mode: "yara", field: "description", cards: 1},
}

// assignment is the endpoint of a kind that has one for it alone.
func (k kind) assignment() (assignment, bool) {
	if k < triage || k > yara {
		return assignment{}, false
	}
	return assignments[k-triage], true
}

// outcomes is what the generated history believes; a test asks the real handlers.
func (k kind) outcome() outcome {
	if a, ok := k.assignment(); ok {
		return outcome{method: "POST", endpoint: a.path, status: 200, mode: a.mode, usesModel: true, coder: a.coder}
	}
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

// modeShares says how many of a hundred questions of a conversation go to a mode.
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
	next := draw{kind: k, mode: d.mode(), question: d.rng.IntN(1 << 16)}
	if a, ok := k.assignment(); ok {
		next.mode = a.mode
	}
	return next
}

func (d *deck) shuffle() {
	for range 11 {
		d.cards = append(d.cards, chatWhole, chatStream)
	}
	for range 9 {
		d.cards = append(d.cards, ask)
	}
	for i, a := range assignments {
		for range a.cards {
			d.cards = append(d.cards, triage+kind(i))
		}
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
