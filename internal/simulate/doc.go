// Package simulate is a Kling for laptops and tests: a job that is created moves
// through its states in seconds, calls back at each change, and has media to
// download. It needs no account and costs nothing; no video is generated.
//
// [New] makes a [Simulator], an http.Handler with these routes:
//
//	POST   /v1/videos/{kind}         create a job, legacy form
//	GET    /v1/videos/{kind}         list jobs (pageNum, pageSize)
//	GET    /v1/videos/{kind}/{id}    look a job up by its id or external_task_id
//	POST   /{kind}/{model}           create a job, new form
//	GET    /tasks                    look up to 20 jobs up (task_ids or external_task_ids)
//	POST   /tasks                    list jobs (start_time, end_time, cursor, limit, filters)
//	POST   /v1/webhooks              register a webhook of the seed protocol
//	GET    /v1/webhooks              list the webhooks, without their secrets
//	DELETE /v1/webhooks/{id}         forget a webhook
//	GET    /media/{id}/{name}        video.mp4 and thumbnail.jpg, by signed links
//	GET    /simulator/stats          what happened so far: [Stats]
//
// Shapes, codes and signatures are those that Kling documents. A job is found
// where it was created only: at its kind's legacy route, or at /tasks. A prompt
// that contains "simulate 1301", or another documented code, is refused with it.
//
// What goes wrong is the [Config]'s: lost, late, repeated and reordered
// callbacks, failed jobs, links that die, slow and broken media, answers in the
// shapes that Kling's have drifted to. All of it follows from the seed and the
// job's number in the order of creation, so that the same run can be had again.
// Secrets and the tokens of links are not fate: they are always new.
//
// Memory is bounded: Config.Parallel jobs are in hand at most, Config.Keep
// settled ones are remembered, and media are streamed.
//
// The package imports nothing of klinghook's, so that the one never shares a
// mistake with the other. It writes no log. It is not for the internet: whoever
// may create a job can have it post to any address.
package simulate
