// From arguments to a verb: flags, help, exit codes.

#pragma once

#include <string>
#include <vector>

#include "kaito/options.h"

namespace kaito {

// Runs what `arguments` (without the program's name) ask for, and returns the exit code.
int RunCommandLine(const std::vector<std::string>& arguments, const Environment& environment,
                   const Streams& streams, const std::string& version);

}  // namespace kaito
