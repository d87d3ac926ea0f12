// Package meshwiretest starts a gateway for tests: the program that the environment variable MESHWIRE_BIN names, else `meshwire` on the
// search path, on a free port with an empty store in memory.
package meshwiretest

import (
	"errors"
	"sync"
	"testing"

	"github.com/meshwire/meshwire-go/internal/native"
)

// Gateway is a gateway that runs as long as its test, and never longer than the process.
type Gateway struct {
	// URL is where it listens, for meshwire.Connect.
	URL string

	handle native.Handle
	over   sync.Once
}

// Start starts a gateway and waits until it listens. It ends with the test. With arguments of `meshwire serve` these are taken in place of
// --memory.
func Start(tb testing.TB, arguments ...string) *Gateway {
	tb.Helper()
	gateway, err := Launch(arguments...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(gateway.Kill)
	return gateway
}

// Launch does the same where there is no test, as in TestMain: end it with Stop or Kill.
func Launch(arguments ...string) (*Gateway, error) {
	handle, failure := native.StartGateway(arguments)
	if failure != nil {
		return nil, errors.New(failure.Operation + ": " + failure.Name + ": " + failure.Text)
	}
	return &Gateway{URL: native.GatewayURL(handle), handle: handle}, nil
}

// Stop asks it to stop, as SIGTERM does, and waits for its end. An error says that it ended with something else than 0.
func (g *Gateway) Stop() (err error) {
	g.over.Do(func() {
		if failure := native.StopGateway(g.handle); failure != nil {
			err = errors.New(failure.Text)
		}
	})
	return err
}

// Kill kills it, as `kill -9` does, and waits for its end. Again is nothing.
func (g *Gateway) Kill() { g.over.Do(func() { native.KillGateway(g.handle) }) }
