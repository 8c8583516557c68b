// Package kling is a client of Kling's API: it looks jobs up and registers
// webhooks. It creates no jobs. It imports nothing of klinghook but the names of a
// job's statuses and of webhook events, and can be used alone.
//
//	client, err := kling.New(kling.Config{
//		BaseURL: "https://api-singapore.klingai.com",
//		APIKey:  os.Getenv("KLINGAI_API_KEY"),
//	})
//	…
//	job, err := client.Job(ctx, "893605946402811985")
//
// # Where a job is
//
// Kling has two APIs. A job that was created with a model in the path is looked up
// by GET /tasks, twenty at a time; one of the legacy API by
// GET /v1/videos/{kind}/{id}, where kind is the path by which it was created. A
// [Kind] names either. [Client.Job] finds a job whose kind is not known by asking
// one kind after the other, and says in [Job.Kind] which knew it: keep that and
// pass it first the next time, and each later look-up is one request.
// [Client.Jobs] and [Client.JobsByExternalID] look many up in the new API;
// [Client.List] and [Client.LegacyList] go through what an account has.
//
// The seed protocol documents the registration of webhooks, and neither a look-up
// of jobs nor a list of registrations. Kling's documentation has no list of them
// either, so there is no call for one here: see Kling's console.
//
// # What comes back
//
// A [Job] is read leniently, since Kling's answers drift: success is succeed or
// succeeded, data an object or a list, times are numbers or strings, and a status
// that nobody knows is kept as it is. Only an object without an id is an error,
// [ErrUnreadable].
//
// [Job.Raw] is the job's object exactly as Kling sent it. It has the form of the
// body of one of Kling's callbacks, of the legacy one with task_id or of the new
// one with id, and so whatever reads callbacks reads it too. In klinghook it is the
// Body of an event, which source's official protocol identifies and turns into an
// update of the job as if it had been delivered:
//
//	tasks.Event{Source: "lookup", JobID: job.ID, Body: job.Raw, …}
//
// # Errors
//
// [VerdictOf] says of any error of a call whether to retry, to wait or to give up,
// and [WaitOf] how long to wait at the least. An answer by which Kling refused is
// an [*APIError]; a job that Kling does not know is [ErrNotFound]. Nothing is
// retried here.
//
// # Pace
//
// A Client makes no more requests than Config.Rate a second, however many
// goroutines use it. When Kling asks to be left alone (a 429, or a Retry-After)
// all calls of the Client wait. A call whose context would end before its turn
// fails at once with a [*WaitError], without a request.
//
// # Secrets
//
// An API key is sent as it is. An access and a secret key sign a token that is
// good for half an hour and renewed before that; only the legacy API takes it.
// Either goes to the configured host alone, over https unless that host is this
// machine. Redirects are not followed, and no key and no token is in an error or
// in what fmt prints of a Client or a Config. The package keeps nothing, logs
// nothing and reads no environment. A proxy set by HTTPS_PROXY and its siblings is
// honoured unless Config has a client of its own.
package kling
