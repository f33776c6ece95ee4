// Package journal is the node's own session store: a sessiondb.Journal in a
// folder. What Apply has confirmed survives the death of the process, kill -9
// included; it is in the kernel's page cache then, and on disk some seconds
// later or at Close.
//
// # The engine
//
// Pebble, with synced commits on logs whose sync does nothing (walFS says
// why), chosen over bbolt with NoSync by BenchmarkEngine: 200,000 keys with
// values of 400 octets, two goroutines replacing random ones, 30,000 changes
// a second in all, on two cores of an AMD EPYC and ext4. CPU is that of the
// whole process, compactions included.
//
//	                 CPU per change   median   99 %     99.9 %   worst
//	Pebble  batch 1       11 us         4 us    26 us    82 us    4 ms
//	        batch 16       8 us        40 us   150 us     2 ms    5 ms
//	        batch 100      7 us       220 us     1 ms     5 ms    8 ms
//	bbolt   batch 1       37 us        24 us     1 ms     4 ms   12 ms
//	        batch 16      22 us       254 us     4 ms     8 ms   32 ms
//	        batch 100     16 us       1.8 ms    62 ms   490 ms  546 ms
//
// Without the limit of 30,000 a second Pebble takes 3 us of CPU per change in
// batches of 16 and more, and bbolt 13 to 20. Memory that is not the page
// cache's: 53 MiB in the test process, most of it two tables of 16 MiB in
// memory and the cache of 8 MiB; it does not grow with the number of sessions.
// All this is with tables of 16 MiB. With those of 4 MiB that there are now, of
// which 32 wait on the disk before they are merged, the records of a whole call
// (BenchmarkCalls) take 14.8 us of CPU instead of 16.5, and 14.9 instead of 18.9
// where 100,000 calls are up; BenchmarkOpen takes 0.5 s instead of 0.4.
// BenchmarkApply, which encodes whole sessions: 3 us of CPU per change in
// batches of 16 and more, 6 to 8 us one by one. BenchmarkOpen reads 200,000
// sessions in 0.4 s.
//
// # The folder
//
//	JOURNAL   makes the folder a journal: epoch, node, checksum; synced
//	LOCK      locked while a process has the journal open
//	SEAL      how far logs and manifests are confirmed, with checksums
//	db/       Pebble's
//
// Open refuses a folder that holds something else and files that are damaged,
// and changes nothing in them. When the machine failed and not only the
// process, the end of the last log may be missing, and the journal opens with
// what was written before.
//
// # Records
//
// A record is a version byte and tagged fields, of which unknown ones are
// skipped (field.go); keys are binary, in the order of the readers (key.go).
package journal
