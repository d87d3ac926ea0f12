// The client as an installed package, against a real gateway process.
package meshwire_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
	"github.com/meshwire/meshwire-go/meshwiretest"
)

// gateway serves all tests that do not end it.
var gateway *meshwiretest.Gateway

func TestMain(m *testing.M) {
	if how := os.Getenv("MESHWIRE_END"); how != "" {
		endAs(how)
		return
	}
	var err error
	if gateway, err = meshwiretest.Launch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	gateway.Kill()
	os.Exit(code)
}

// patience is far beyond what anything takes.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, options ...meshwire.ConnectOption) *meshwire.Client {
	t.Helper()
	mesh, err := meshwire.Connect(patience(t), gateway.URL, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		soon, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		mesh.Drain(soon)
	})
	return mesh
}

func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func fine(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// topic is one that no other test has.
func topic(t testing.TB) string {
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return name[max(0, len(name)-60):]
}
