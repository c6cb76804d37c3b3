// Threads with names, so that `top -H` and a debugger say which is which.

#pragma once

#include <functional>
#include <stop_token>
#include <string_view>
#include <thread>

namespace base {

// Starts `body` on a thread called `name` (15 characters are kept). The returned thread asks it to
// stop and joins when destroyed.
std::jthread StartThread(std::string_view name, std::function<void(std::stop_token)> body);

}  // namespace base
