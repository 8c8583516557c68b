package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// listFlags are the flags of commands that list something.
type listFlags struct {
	limit  uint
	asJSON bool
}

func (f *listFlags) add(cmd *cobra.Command) {
	cmd.Flags().UintVar(&f.limit, "limit", 50, "list at most `n`; 0 means no limit")
	jsonFlag(cmd, &f.asJSON)
}

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}

// table defines how a list is printed for people.
type table[T any] struct {
	none    string // printed instead of an empty list
	heading []string
	row     func(T) []string
}

// print writes a list as JSON, or as a table.
func (t table[T]) print(w io.Writer, list []T, asJSON bool) error {
	if asJSON {
		return printJSON(w, append([]T{}, list...)) // [] if empty, not null
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, t.none)
		return err
	}
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.heading, "\t"))
	for _, item := range list {
		row := t.row(item)
		for i := range row {
			row[i] = oneLine(row[i])
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// section prints a table under a title, and nothing for an empty list.
func (t table[T]) section(w io.Writer, title string, list []T) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", title)
	return t.print(w, list, false)
}

// each converts every item of a list.
func each[From, To any](list []From, convert func(From) To) []To {
	converted := make([]To, len(list))
	for i, item := range list {
		converted[i] = convert(item)
	}
	return converted
}

// printJSON writes indented JSON without characters that could control a terminal.
func printJSON(w io.Writer, v any) error {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeHidden(text.String()))
	return err
}

// printFields writes names and values, omitting empty values.
func printFields(w io.Writer, fields [][2]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, field := range fields {
		if field[1] != "" {
			fmt.Fprintf(tw, "%s\t%s\n", field[0], oneLine(field[1]))
		}
	}
	return tw.Flush()
}

// escapeHidden replaces characters that could control a terminal or reorder text with JSON
// escapes: control characters except line feeds, bidi marks, and other invisible ones. It
// keeps the joiners of scripts and emoji.
func escapeHidden(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n', r == '\u200c', r == '\u200d', !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// oneLine is escapeHidden for a text within a line.
func oneLine(text string) string {
	return escapeHidden(strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(text))
}

// textOrBytes returns content as text if it is UTF-8, else as bytes, which JSON
// encodes as base64.
func textOrBytes(content []byte) (text string, raw []byte) {
	if utf8.Valid(content) {
		return string(content), nil
	}
	return "", content
}

// cut shortens a text for a table.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// errorText shortens an error for a table. It keeps the end of the first line, which has
// the cause; the stack of a panic follows that line.
func errorText(text string) string {
	const most, head = 90, 20
	line, _, _ := strings.Cut(text, "\n")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:head]) + "…" + string(runes[len(runes)-(most-head-1):])
	}
	return line
}

// seconds formats a duration for people; empty if zero.
func seconds(n float64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatFloat(n, 'f', 3, 64) + " s"
}

// clock formats a time for people; empty if zero.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// sizeText formats a size for people; empty if zero.
func sizeText(n int64) string {
	if n == 0 {
		return ""
	}
	size, unit, digits := float64(n), 0, 0
	for size >= 1024 && unit < 4 {
		size, unit = size/1024, unit+1
	}
	if unit > 0 && size < 10 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %s", digits, size, [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

// countText formats a number for people.
func countText(n int64) string { return fmt.Sprint(n) }
