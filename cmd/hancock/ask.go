package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cyberviser/hancock/cmd/hancock/internal/config"
)

// maxInput bounds what is read of standard input: what the API takes by default.
const maxInput = 1 << 20

// question is what `hancock ask` was told to ask.
type question struct {
	text   string
	mode   string
	stream bool
}

// ask puts a question to a running Hancock and prints the answer, piece by
// piece when it is streamed. What stands on standard input is part of it.
func ask(ctx context.Context, inv invocation, stdin io.Reader, stdout io.Writer) error {
	q := inv.question
	message, err := q.message(ctx, stdin)
	if err != nil {
		return usageError{err}
	}
	resp, err := inv.call(ctx, "/v1/chat", map[string]any{"message": message, "mode": q.mode, "stream": q.stream}, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if q.stream {
		return printStream(resp.Body, stdout)
	}
	var answer struct {
		Response string `json:"response"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	_, err = fmt.Fprintln(stdout, answer.Response)
	return err
}

// message joins the words of the command line and standard input.
func (q question) message(ctx context.Context, stdin io.Reader) (string, error) {
	var piped []byte
	if stdin != nil {
		// A pipe that nobody closes must not outlive the wish to stop.
		done := make(chan error, 1)
		go func() {
			var err error
			piped, err = io.ReadAll(io.LimitReader(stdin, maxInput+1))
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				return "", fmt.Errorf("reading standard input: %w", err)
			}
		case <-ctx.Done():
			return "", errors.New("stopped while reading standard input")
		}
		if len(piped) > maxInput {
			return "", fmt.Errorf("standard input is larger than %s: pass less, for example with tail", config.Bytes(maxInput))
		}
	}
	parts := []string{q.text, strings.ToValidUTF8(string(piped), "\uFFFD")}
	message := strings.TrimSpace(strings.Join(parts, "\n\n"))
	if message == "" {
		return "", errors.New(`ask what? For example: hancock ask "What is a SYN flood?"`)
	}
	return message, nil
}

// printStream prints the pieces of a streamed answer as they come.
func printStream(body io.Reader, stdout io.Writer) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var event struct {
			Delta     string `json:"delta"`
			Error     string `json:"error"`
			RequestID string `json:"request_id"`
			Done      bool   `json:"done"`
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return fmt.Errorf("reading the stream: %w", err)
		}
		if event.Error != "" {
			return fmt.Errorf("%s (request %s)", event.Error, event.RequestID)
		}
		if _, err := io.WriteString(stdout, event.Delta); err != nil {
			return err
		}
		if event.Done {
			_, err := fmt.Fprintln(stdout)
			return err
		}
	}
	return errors.Join(errors.New("the stream ended before the answer was complete"), lines.Err())
}
