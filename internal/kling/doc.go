// Package kling is a client of Kling's API. It looks jobs up and registers
// webhooks; it creates no jobs.
//
//	client, err := kling.New(kling.Config{
//		BaseURL: "https://api-singapore.klingai.com",
//		APIKey:  key,
//	})
//	…
//	job, err := client.Job(ctx, "893605946402811985")
//
// # Where a job is
//
// Kling has two APIs. A job created with the model in the path is looked up by
// GET /tasks, twenty at a time; a legacy one by GET and the path that created it, such as
// /v1/videos/text2video/{id} or /v1/images/generations/{id}. A [JobKind] names one of
// these. [API.Job] asks one kind after the other and reports in [Answer.Kind] which one
// knew the job: pass that kind next time, and the look-up is one request. [API.Jobs]
// looks up many jobs of the new API.
//
// # Answers
//
// Answers are read leniently, by the source package's readers, because Kling's
// shapes drift. A job without an id or a status is [ErrUnreadable]. [Answer.Raw] is the
// job's object exactly as Kling sent it. It has the form of a callback, so it can
// become an event like one.
//
// # Errors
//
// A refusal is an [*APIError], whose text says what to do. A job that Kling does not
// know is [ErrNotFound]. [WaitOf] returns how long to wait after an error, and
// [AboutJobs] whether it concerns only the jobs asked for. Nothing is retried here.
//
// # Rate
//
// An API makes at most Config.Rate requests a second, however many goroutines use
// it. After a 429 or a Retry-After all its calls wait. A call whose context would
// end before its turn fails at once with a [*WaitError].
//
// # Secrets
//
// An API key is sent as it is. An access and a secret key sign a token that is valid
// for half an hour; only the legacy API accepts it. Both go to the configured host
// only, over https unless that host is this machine. Redirects are not followed. No
// error contains a key or a token.
package kling
