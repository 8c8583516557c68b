package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/klinghook/klinghook/internal/store"
)

// letterJSON is a dead letter as --json prints it. A payload that is not UTF-8 is
// in payload_base64.
type letterJSON struct {
	ID            int64           `json:"id"`
	Kind          string          `json:"kind"`
	TaskID        string          `json:"task_id"`
	JobID         string          `json:"job_id,omitempty"`
	EventID       string          `json:"event_id,omitempty"`
	Error         string          `json:"error"`
	FailedAt      time.Time       `json:"failed_at"`
	State         string          `json:"state"`
	EndedAt       time.Time       `json:"ended_at,omitzero"`
	Failures      []store.Failure `json:"failures,omitempty"`
	Payload       string          `json:"payload,omitempty"`
	PayloadBase64 []byte          `json:"payload_base64,omitempty"`
}

func newLetterJSON(d store.DeadLetter, whole bool) letterJSON {
	shown := letterJSON{
		ID: d.ID, Kind: string(d.Task.Kind), TaskID: d.Task.ID, JobID: d.JobID, EventID: d.EventID,
		Error: d.Error, FailedAt: d.FailedAt, State: string(d.State), EndedAt: d.EndedAt,
	}
	if whole {
		shown.Failures = d.Failures
		shown.Payload, shown.PayloadBase64 = textOrBytes(d.Task.Payload)
	}
	return shown
}

func printLetters(w io.Writer, letters []store.DeadLetter, asJSON bool) error {
	if asJSON {
		list := make([]letterJSON, 0, len(letters))
		for _, d := range letters {
			list = append(list, newLetterJSON(d, false))
		}
		return printJSON(w, list)
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	var rows [][]string
	for _, d := range letters {
		rows = append(rows, []string{strconv.FormatInt(d.ID, 10), string(d.Task.Kind), d.JobID, clock(d.FailedAt), string(d.State), cut(d.Error, 60)})
	}
	return printTable(w, []string{"ID", "KIND", "JOB", "FAILED", "STATE", "ERROR"}, rows)
}

// stateText is a dead letter's state for people.
func stateText(state store.DeadLetterState) string {
	if state == store.DeadLetterDone {
		return "done: its work was done after all, by another run of the task or because of another event"
	}
	return string(state)
}

func printLetter(w io.Writer, d store.DeadLetter) error {
	err := printFields(w, [][2]string{
		{"Dead letter", strconv.FormatInt(d.ID, 10)}, {"State", stateText(d.State)}, {"Ended", clock(d.EndedAt)},
		{"Kind", string(d.Task.Kind)}, {"Task", d.Task.ID}, {"Job", d.JobID}, {"Event", d.EventID}, {"Failed", clock(d.FailedAt)},
	})
	if err != nil {
		return err
	}
	var failures [][]string
	for _, f := range d.Failures {
		failures = append(failures, []string{strconv.Itoa(f.Attempt), clock(f.At), f.Error})
	}
	_, payloadErr := fmt.Fprintf(w, "\nPayload\n%s\n", oneLine(string(d.Task.Payload)))
	return errors.Join(payloadErr, section(w, "Attempts", []string{"ATTEMPT", "AT", "ERROR"}, failures))
}
