package meshwire_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

// lines is a writer that many may use.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestWhatTheLibraryLogsGoesToTheLogger(t *testing.T) {
	said := &lines{}
	mesh := connect(t, meshwire.WithLogger(slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	// Its first line says what a subscription without a group is.
	must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), topic(t)))
	for wait := time.Now(); !strings.Contains(said.String(), "target=meshwire"); {
		if time.Since(wait) > 10*time.Second {
			t.Fatalf("nothing was logged: %s", said)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestEachLoggerGetsWhatItsLevelSays(t *testing.T) {
	logger := func(level slog.Leveler) (*lines, meshwire.ConnectOption) {
		said := &lines{}
		return said, meshwire.WithLogger(slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: level})))
	}
	has := func(said *lines, what string) {
		t.Helper()
		for wait := time.Now(); !strings.Contains(said.String(), what); {
			if time.Since(wait) > 10*time.Second {
				t.Fatalf("%s was not logged: %s", what, said)
			}
			time.Sleep(time.Millisecond)
		}
	}
	// Its first line says what a subscription without a group is.
	says := func(mesh *meshwire.Client) {
		fine(t, must[*meshwire.Subscription](t)(mesh.Subscribe(patience(t), topic(t))).Close())
	}
	coarse, first := logger(slog.LevelError)
	connect(t, first)
	curious, second := logger(slog.LevelInfo)
	says(connect(t, second))
	// What it is about has fields of its own.
	has(curious, "level=INFO msg=\"subscribing without a group")
	has(curious, "after a restart\" topic=")
	// A level that changes while the program runs.
	var level slog.LevelVar
	level.Set(slog.LevelError)
	late, third := logger(&level)
	mesh := connect(t, third)
	level.Set(slog.LevelDebug)
	for wait := time.Now(); !strings.Contains(late.String(), "level=INFO"); {
		if time.Since(wait) > 10*time.Second {
			t.Fatalf("the new level does not hold: %s", late)
		}
		says(mesh)
	}
	if strings.Contains(coarse.String(), "level=INFO") {
		t.Error(coarse)
	}
}
