// The CUDA runtime functions that this code base calls, for a card that exists on paper: memory is address space that
// is never read, nothing is computed, and every launch is held against the card's limits and written down. Linked in
// place of the CUDA runtime, it runs whole chunks of the real backend without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace flashvsr::paper {

// What the runtime is asked about a card, and what its launches are held against (CUDA C++ Programming Guide, technical
// specifications by compute capability).
struct Card {
  std::string name;
  int major = 8, minor = 0;
  std::int64_t memoryBytes = 0;
  std::size_t sharedBytesPerBlock = 0;  // with opt-in; 48 KB without
};

// Registers a thread and static shared bytes of one kernel, as ptxas reports them for one architecture.
struct Resources {
  int registers = 0;
  std::size_t staticSharedBytes = 0;
};

struct Launch {
  std::string kernel;  // mangled, normalised
  unsigned blocks = 0, threads = 0;
  std::size_t dynamicSharedBytes = 0, staticSharedBytes = 0;
  int registers = 0;           // 0: not known
  std::string problem;         // the limit that the launch breaks, with the numbers; empty when it fits
  void** arguments = nullptr;  // of the kernel, during the call of the observer only
};

// Mangled name without the part that differs between two compilations of one file (its unnamed namespace's).
std::string Normalised(const std::string& mangled);

// From here on the process has this card and no other. `resources` by normalised name; may be empty.
void UseCard(const Card& card, std::map<std::string, Resources> resources);
// Called for every launch, on the launching thread, and without arguments for a kernel that is refused the shared
// memory it asks for; an empty function stops it.
void Observe(std::function<void(const Launch&)> observer);
// Bytes allocated on the card now.
std::int64_t AllocatedBytes();

}  // namespace flashvsr::paper
