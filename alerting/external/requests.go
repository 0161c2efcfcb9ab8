package external

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxAnswer is how much of an answer is read so that its connection can be used again.
const maxAnswer = 64 << 10

// requests knows those to Alertmanagers that are on their way, which Prometheus does not wait for.
type requests struct {
	life   context.Context
	cancel context.CancelFunc

	mtx     sync.Mutex
	ended   bool
	count   int
	last    time.Time // When one ended.
	clients map[*http.Client]struct{}
	running sync.WaitGroup
}

func newRequests() *requests {
	r := &requests{clients: make(map[*http.Client]struct{})}
	r.life, r.cancel = context.WithCancel(context.Background())
	return r
}

// do makes one request. Its answer comes without a body.
func (r *requests) do(ctx context.Context, client *http.Client, req *http.Request) (*http.Response, error) {
	if !r.begin(client) {
		return nil, errStopped
	}
	defer r.done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.life, cancel)()
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		if r.life.Err() != nil {
			return nil, errors.Join(errStopped, err)
		}
		return nil, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // What it says besides its status does not matter.
	_ = resp.Body.Close()
	resp.Body = http.NoBody
	return resp, nil
}

var errStopped = errors.New("given up because the sending of alerts was stopped")

func (r *requests) begin(client *http.Client) bool {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if r.ended {
		return false
	}
	r.clients[client] = struct{}{}
	r.count++
	r.running.Add(1)
	return true
}

func (r *requests) done() {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	r.count--
	r.last = time.Now()
	r.running.Done()
}

// settled says that none is on its way, and none has been for a while.
func (r *requests) settled() bool {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return r.count == 0 && time.Since(r.last) >= settled
}

// end cancels what is on its way and waits for it. Nothing begins any more.
func (r *requests) end() {
	r.mtx.Lock()
	r.ended = true
	r.mtx.Unlock()
	r.cancel()
	r.running.Wait()
	for client := range r.clients {
		client.CloseIdleConnections()
	}
}
