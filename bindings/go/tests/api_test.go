package meshwire_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The public API is what api.txt says. MESHWIRE_GEN=write writes it.
func TestThePublicAPIIsWhatItWas(t *testing.T) {
	said, err := exec.Command("go", "doc", "-all", "github.com/meshwire/meshwire-go").Output()
	fine(t, err)
	var api strings.Builder
	for _, line := range strings.Split(string(said), "\n") {
		// Not what is said of it.
		isComment := strings.HasPrefix(line, "    ") || strings.HasPrefix(strings.TrimSpace(line), "//")
		if line = strings.TrimRight(line, " "); line != "" && !isComment {
			api.WriteString(line + "\n")
		}
	}
	if os.Getenv("MESHWIRE_GEN") == "write" {
		fine(t, os.WriteFile("api.txt", []byte(api.String()), 0o644))
	}
	found, err := os.ReadFile("api.txt")
	fine(t, err)
	if string(found) != api.String() {
		t.Errorf("the API is not that of api.txt: if it is meant, run this test with MESHWIRE_GEN=write\n%s", api.String())
	}
}
