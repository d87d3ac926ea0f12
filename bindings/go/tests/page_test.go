package meshwire_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshwire/meshwire-go/meshwiretest"
)

// around is what stands around a piece of a program in the documentation.
const around = `package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	meshwire "github.com/meshwire/meshwire-go"
)

type Order struct{ ID int }

func bill(ctx context.Context, d *meshwire.Delivery) error { return nil }

func onOrder(ctx context.Context, d *meshwire.Delivery) error { return nil }

func main() {
	if err := run(context.Background(), nil, Order{}, nil, nil); err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, mesh *meshwire.Client, order Order, b []byte, rows []Order) error {
	var err error
	_, _, _, _, _ = errors.New, fmt.Sprint, slog.Default, time.Now, err
%s
	return nil
}
`

// The programs of docs/go.md run, and its pieces are compiled.
func TestThePageOfGoSaysWhatCompilesAndRuns(t *testing.T) {
	path := os.Getenv("MESHWIRE_PAGE")
	if path == "" {
		t.Skip("skipped: needs MESHWIRE_PAGE")
	}
	page, err := os.ReadFile(path)
	fine(t, err)
	folder := examples(t)
	snippets := strings.Split(string(page), "```go\n")[1:]
	if len(snippets) < 8 {
		t.Error("the page has few snippets:", len(snippets))
	}
	var programs []string
	for at, snippet := range snippets {
		text, _, _ := strings.Cut(snippet, "```")
		place := filepath.Join(folder, fmt.Sprintf("page%d", at))
		fine(t, os.MkdirAll(place, 0o755))
		t.Cleanup(func() { os.RemoveAll(place) })
		if strings.HasPrefix(text, "package main") {
			programs = append(programs, place)
		} else if strings.HasPrefix(text, "package ") {
			fine(t, os.WriteFile(filepath.Join(place, "page_test.go"), []byte(text), 0o644))
			continue
		} else {
			text = fmt.Sprintf(around, text)
		}
		fine(t, os.WriteFile(filepath.Join(place, "main.go"), []byte(text), 0o644))
	}
	vet := exec.Command("go", "vet", "./...")
	vet.Dir = folder
	if said, err := vet.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	gateway := meshwiretest.Start(t)
	for _, program := range programs {
		run := exec.Command("go", "run", ".")
		run.Dir = program
		run.Env = append(os.Environ(), "MESHWIRE_URL="+gateway.URL)
		if said, err := run.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, said)
		}
	}
}
