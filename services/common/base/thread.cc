#include "common/base/thread.h"

#include <string>
#include <utility>

#include <pthread.h>

namespace base {

std::jthread StartThread(std::string_view name, std::function<void(std::stop_token)> body) {
  return std::jthread(
      [name = std::string(name.substr(0, 15)), body = std::move(body)](std::stop_token stop) {
        pthread_setname_np(pthread_self(), name.c_str());
        body(std::move(stop));
      });
}

}  // namespace base
