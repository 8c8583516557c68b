package cli

import (
	"os"

	"golang.org/x/term"
)

// Coloured reports whether a file is a terminal that shows colours and NO_COLOR
// (https://no-color.org) is not set.
func Coloured(file *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}
