package report

import (
	"fmt"
	"os"
	"strings"
)

// Block is what stands between two marks of the document: <!-- bench:name --> and
// <!-- bench:end -->.
type Block struct{ Name, Text string }

const endMark = "<!-- bench:end -->"

func mark(name string) string { return "<!-- bench:" + name + " -->" }

// Update replaces what stands between the marks of a document.
func Update(path string, blocks []Block) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := fill(string(old), blocks)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// fill returns the document with the blocks between its marks. Each has marks, and
// each mark has a block.
func fill(document string, blocks []Block) (string, error) {
	for _, b := range blocks {
		before, rest, begins := strings.Cut(document, mark(b.Name))
		_, after, ends := strings.Cut(rest, endMark)
		if !begins || !ends {
			return "", fmt.Errorf("it has no place for %q: %s and %s around it", b.Name, mark(b.Name), endMark)
		}
		document = before + mark(b.Name) + "\n\n" + strings.Trim(b.Text, "\n") + "\n\n" + endMark + after
	}
	if n := strings.Count(document, endMark); n != len(blocks) {
		return "", fmt.Errorf("it has %d places for %d blocks", n, len(blocks))
	}
	return document, nil
}

// table writes a Markdown table. The first column is text, the others are figures.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range rows {
		line(row)
	}
	return b.String()
}
