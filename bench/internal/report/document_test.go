package report

import (
	"strings"
	"testing"
)

const document = `# Title

Text before.

<!-- bench:one -->

old

<!-- bench:end -->

Text between.

<!-- bench:two --><!-- bench:end -->
Text after.
`

func TestFill(t *testing.T) {
	blocks := []Block{{"one", "new one\n"}, {"two", "new two"}}
	got, err := fill(document, blocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Text before.", "Text between.", "Text after.", "\nnew one\n", "\nnew two\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "old") {
		t.Errorf("what was there before has stayed:\n%s", got)
	}
	if again, err := fill(got, blocks); err != nil || again != got {
		t.Errorf("filling it again (error %v) gives another document:\n%s", err, again)
	}
}

func TestFillTellsWhatDoesNotFit(t *testing.T) {
	for name, blocks := range map[string][]Block{
		"a block without a place": {{"one", ""}, {"two", ""}, {"three", ""}},
		"a place without a block": {{"one", ""}},
	} {
		if _, err := fill(document, blocks); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
