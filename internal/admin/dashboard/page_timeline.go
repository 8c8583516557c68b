package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// moment is an entry of a job's timeline.
type moment struct {
	At time.Time
	// State is the CSS class for its colour. Title says what happened; Text is an error or
	// an answer.
	State, Title, Text string
	// Took says how long it took; empty if unknown.
	Took string
	// Marks are words such as "repeat".
	Marks []string
}

// timeline returns what happened to a job, oldest first.
func timeline(detail JobDetail, files []store.Media) []moment {
	list := slices.Concat(eventMoments(detail), fileMoments(detail, files), notificationMoments(detail.Notifications), failureMoments(detail))
	if at := detail.Lookups.TrackedAt; !at.IsZero() {
		list = append(list, moment{At: at, State: "created", Title: "A program tracked the job"})
	}
	if at := detail.Lookups.LastAt; !at.IsZero() {
		last := lookupMoments[detail.Lookups.LastOutcome]
		last.At = at
		list = append(list, last)
	}
	if at := detail.Lookups.RequestedAt; !at.IsZero() {
		list = append(list, moment{At: at, State: "pending", Title: "Look-up requested"})
	}
	slices.SortStableFunc(list, func(a, b moment) int { return a.At.Compare(b.At) })
	return list
}

// lookupMoments describe the last look-up by its outcome.
var lookupMoments = map[string]moment{
	"found":   {State: "ok", Title: "Last look-up: Kling answered"},
	"unknown": {State: "late", Title: "Last look-up: Kling does not know this job"},
	"unclear": {State: "late", Title: "Last look-up: no usable answer from Kling"},
}

func eventMoments(detail JobDetail) (list []moment) {
	for _, event := range slices.Backward(detail.Events) {
		m := moment{At: event.ReceivedAt, State: "ok", Title: "Delivery " + event.Type + " (" + sourceName(event.Source) + ")"}
		if event.Source == tasks.SourceLookup {
			m.Title = "Look-up: Kling says " + strings.TrimPrefix(event.Type, "video.")
			if event.Type == tasks.TypeLost {
				m.Title, m.State = "Kling does not know this job; it counts as lost", "lost"
			}
		}
		if event.ProcessedAt.IsZero() {
			m.State, m.Marks = "pending", append(m.Marks, "not recorded yet")
		} else {
			m.Took = "recorded in " + took(event.ProcessedAt.Sub(event.ReceivedAt))
		}
		for word, is := range map[string]bool{"repeat": event.Repeat, "late": event.Late, "test callback": event.TestCallback} {
			if is {
				m.State, m.Marks = "late", append(m.Marks, word)
			}
		}
		slices.Sort(m.Marks)
		list = append(list, m)
		for _, at := range event.RepeatedAt {
			list = append(list, moment{At: at, State: "late", Title: m.Title, Marks: []string{"repeat"}})
		}
	}
	return list
}

func fileMoments(detail JobDetail, files []store.Media) (list []moment) {
	for _, file := range files {
		buried := slices.ContainsFunc(detail.DeadLetters, func(letter DeadLetter) bool { return workOf(letter.TaskID) == "download "+file.Name })
		if !file.StoredAt.IsZero() {
			list = append(list, moment{At: file.StoredAt, State: "stored", Title: "Stored " + file.Name + ", " + size(file.Size), Took: took(file.StoredAt.Sub(file.CreatedAt)) + " after its link"})
		}
		switch {
		case file.State == store.MediaPending:
			list = append(list, moment{At: file.UpdatedAt, State: "pending", Title: "Waiting to download " + file.Name, Text: withoutLinkSecrets(file.Error)})
		case file.State == store.MediaDeleted:
			list = append(list, moment{At: file.UpdatedAt, State: "deleted", Title: "Deleted " + file.Name + " because of its age"})
		case file.State == store.MediaFailed && !buried:
			list = append(list, moment{At: file.UpdatedAt, State: "failed", Title: "Gave up on a link to " + file.Name, Text: withoutLinkSecrets(file.Error)})
		}
	}
	return list
}

func notificationMoments(notifications []Notification) (list []moment) {
	for _, n := range notifications {
		what := "Notification " + n.Type + " to " + n.Destination
		for _, attempt := range n.Attempts {
			m := moment{At: attempt.At, State: "sent", Title: what, Text: withAnswer(attempt.Error, attempt.Answer), Took: took(time.Duration(attempt.DurationSeconds * float64(time.Second)))}
			if attempt.Error != "" {
				m.State, m.Title = "failed", m.Title+" failed"
			}
			if attempt.Status != 0 {
				m.Title += fmt.Sprintf(": %d", attempt.Status)
			}
			list = append(list, m)
		}
		switch {
		case n.State == string(store.NotificationPending):
			list = append(list, moment{At: n.CreatedAt, State: "pending", Title: what + " waits"})
		case n.State == string(store.NotificationSent) && len(n.Attempts) == 0:
			list = append(list, moment{At: n.SentAt, State: "sent", Title: what, Took: took(n.SentAt.Sub(n.CreatedAt)) + " after its event"})
		}
	}
	return list
}

// withAnswer returns an error with the answer of the server, unless it has it.
func withAnswer(failed, answer string) string {
	if failed == "" || answer == "" || strings.Contains(failed, answer) {
		return cmp.Or(failed, answer)
	}
	return failed + ": " + answer
}

// failureMoments returns failed attempts and dead letters, which have the last attempt's
// error. Attempts to notify are in the notifications.
func failureMoments(detail JobDetail) (list []moment) {
	for _, failure := range detail.Failures {
		if strings.HasPrefix(failure.TaskID, string(tasks.KindNotifySend)+":") {
			continue
		}
		list = append(list, moment{At: failure.At, State: "retry", Title: fmt.Sprintf("Attempt %d to %s failed", failure.Attempt, workOf(failure.TaskID)), Text: failure.Error})
	}
	for _, letter := range detail.DeadLetters {
		for i, failure := range letter.Failures {
			last := i == len(letter.Failures)-1 && failure.Error == letter.Error
			if letter.Kind != string(tasks.KindNotifySend) && !last {
				list = append(list, moment{At: failure.At, State: "retry", Title: fmt.Sprintf("Attempt %d to %s failed", failure.Attempt, workOf(letter.TaskID)), Text: failure.Error})
			}
		}
		m := moment{At: letter.FailedAt, State: "failed", Title: "Gave up: " + workOf(letter.TaskID), Text: letter.Error}
		if letter.State != string(store.DeadLetterDead) {
			m.Marks = []string{letter.State}
			list = append(list, moment{At: letter.EndedAt, State: letter.State, Title: "Failure " + letter.State + ": " + workOf(letter.TaskID)})
		}
		list = append(list, m)
	}
	return list
}

// workOf says what a task does.
func workOf(taskID string) string {
	parts := strings.Split(tasks.WorkID(taskID), ":")
	switch kind := tasks.Kind(strings.Join(parts[:min(2, len(parts))], ":")); {
	case kind == tasks.KindMediaDownload && len(parts) == 5:
		return "download " + parts[3]
	case kind == tasks.KindMediaFind:
		return "find a missing file"
	case kind == tasks.KindNotifySend:
		return "send a notification"
	case kind == tasks.KindEventRecord:
		return "record an event"
	}
	return "do a task"
}
