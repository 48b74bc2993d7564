// Package logs hands out what launched instances wrote: the end of it or all that is kept, and what comes after it.
//
//	files of the shims --tape--> Line --Merge--> Handler ==http==> Read --Merge--> who looks
//
// Guarantees:
//   - What is read is what was asked for: the end of a file is found from its end, and a line is forgotten once it is sent.
//   - Who reads slowly, or not at all, is left after a while, and slows no instance down.
//   - A line is as the instance wrote it. Who shows it makes it printable.
package logs
