// What is wrong with one entry of a catalogue file: told to the administrator, never fatal.

#pragma once

#include <string>

namespace catalog {

struct Problem {
  std::string file;
  std::string field;  // "types[3].gpus"; empty when the whole file cannot be read.
  std::string reason;

  // "azure.yaml: types[3].gpus: is missing"
  std::string ToString() const;
};

}  // namespace catalog
