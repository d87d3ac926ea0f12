package meshwire_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// examples are beside the suite, or where MESHWIRE_EXAMPLES says.
func examples(t *testing.T) string {
	folder := os.Getenv("MESHWIRE_EXAMPLES")
	if folder == "" {
		t.Skip("skipped: needs MESHWIRE_EXAMPLES")
	}
	return folder
}

func TestTheExamplesAreShort(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(examples(t), "*", "main.go"))
	if len(files) != 10 {
		t.Error(files)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		count := 0
		for _, line := range strings.Split(string(text), "\n") {
			// Neither blank lines nor comments count.
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				count++
			}
		}
		if count > 40 {
			t.Errorf("%s has %d lines", file, count)
		}
	}
}
