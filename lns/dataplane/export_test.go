package dataplane

// NewTUN makes the TUN device as a Core, for tests that want one on the far side too.
var NewTUN = newTUN

// Steering is the kernel's program that chooses the shard.
var Steering = steeringProgram
