// Package simulate is a fake Kling for laptops and tests: a job moves through its
// states in seconds, calls back at each change, and has media to download. It needs no
// account and costs nothing; no video is generated.
//
// [New] returns a [Simulator], an http.Handler with these routes:
//
//	POST /v1/videos/{kind}        create a job, legacy form
//	GET  /v1/videos/{kind}/{id}   look up a job by its id or external_task_id
//	POST /{kind}/{model}          create a job, new form
//	GET  /tasks                   look up at most 20 jobs (task_ids or external_task_ids)
//	GET  /media/{id}/{file}       video.mp4 and thumbnail.jpg, by signed links
//	GET  /simulator/stats         what happened so far: [Stats]
//
// Shapes, codes and signatures are as Kling documents them. A job is only found
// where it was created: at its kind's legacy route, or at /tasks. A prompt that contains
// "simulate 1301", or another documented code, is refused with it.
//
// [Config] says what goes wrong: lost, late, repeated and reordered callbacks, failed
// jobs, dead links, slow and broken media, answers in other shapes. The seed and the order
// in which jobs are created decide all of it, so that a run can be repeated. Only the
// tokens in links are random.
//
// [Update] and [CallbackFormat] write and sign single callbacks, for `klinghook send`.
//
// Memory is bounded: there are at most Config.Parallel unfinished jobs and Config.Keep
// finished ones, and media are streamed. The package imports no other package of
// klinghook: a shared mistake would go unnoticed. It is not for the internet: anyone who
// can create a job can make it post to any address.
package simulate
