#lang racket
; Who gets what from semaphores, channels and mailboxes while others suspend, resume, kill and break: reads
; programs, writes each operation and what it and the threads that it lets go on have to say, in order.
; See test_as_racket.py.
(require racket/async-channel)
(define (run program)
  (define semaphore (make-semaphore))
  (define channel (make-channel))
  (define buffer (make-async-channel))
  (define threads '())
  (define log '())
  (define (say . parts) (set! log (cons (string-append* parts) log)))
  (define (thd i) (list-ref threads i))
  (define (start operation)
    (define name (number->string (length threads)))
    (define (body)
      (with-handlers ([exn:break? (lambda (e) (say name " broken"))])
        (say name " " (operation name))))
    (set! threads (append threads (list (thread body)))))
  (define (perform op value)
    (match op
      ['(wait) (start (lambda (_) (semaphore-wait semaphore) "waited"))]
      ['(get) (start (lambda (_) (channel-get channel)))]
      ['(put) (start (lambda (name) (channel-put channel (string-append "of " name)) "put"))]
      ['(async-get) (start (lambda (_) (async-channel-get buffer)))]
      ['(receive) (start (lambda (_) (thread-receive)))]
      [(list 'suspend i) (thread-suspend (thd i))]
      [(list 'resume i) (thread-resume (thd i))]
      [(list 'kill i) (kill-thread (thd i))]
      [(list 'break i) (break-thread (thd i))]
      ['(post) (semaphore-post semaphore)]
      ['(try-wait) (say (if (semaphore-try-wait? semaphore) "taken" "none"))]
      ['(try-get) (say (or (channel-try-get channel) "nothing"))]
      ['(try-put) (say (if (sync/timeout 0 (channel-put-evt channel value)) "given" "kept"))]
      ['(async-put) (async-channel-put buffer value)]
      [(list 'send i) (say (if (eq? 'dead (thread-send (thd i) value (lambda () 'dead))) "dead" "sent"))]))
  (for ([op program] [number (in-naturals)])
    (set! log '())
    (perform op (format "value ~a" number))
    (for ([_ 12]) (sleep 0))
    (printf "~s ~a\n" op (string-join (reverse log) ", ")))
  (for-each kill-thread threads)
  (newline))
(for ([program (in-port)]) (run program))
