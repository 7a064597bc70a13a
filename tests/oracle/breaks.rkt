#lang racket
; Where breaks are enabled and where they come: reads programs, writes each and what it notes on its way.
; See test_as_racket.py.
(define (run program)
  (define log '())
  (define kept (make-hash))
  (define (note what) (set! log (cons what log)))
  (define (breaks) (if (break-enabled) "+" "-"))
  (define (all ops) (for-each perform ops))
  (define (perform op)
    (match op
      ['(read) (note (breaks))]
      ['(read-in-thread) (thread-wait (thread (lambda () (note (string-append "thread" (breaks))))))]
      [(list 'set on) (break-enabled (eq? on 'on)) (note "set")]
      [(list 'keep i) (hash-set! kept i (current-break-parameterization))]
      [(list* 'parameterize on ops) (parameterize-break (eq? on 'on) (all ops)) (note "left")]
      [(list* 'call-with i ops)
       (when (hash-has-key? kept i)
         (call-with-break-parameterization (hash-ref kept i) (lambda () (all ops) (void)))
         (note "called"))]
      [(list* 'catch ops) (with-handlers ([exn:break? (lambda (e) (note "caught"))]) (all ops) (note "not-caught"))]
      [(list* 'finally ops) (dynamic-wind void (lambda () (all ops)) (lambda () (note "finally")))]
      ['(break) (note "break") (break-thread (current-thread)) (note "broken")]
      ['(wait) (sync/timeout 0.0001 never-evt) (note "waited")]
      ['(wait-enable-break) (sync/timeout/enable-break 0.0001 never-evt) (note "waited-open")]
      ['(wrap) (note (sync (wrap-evt always-evt (lambda (_) "wrapped"))))]
      [(list* 'thread ops) (thread-wait (thread (lambda () (perform (cons 'catch ops)))))]
      [(list* 'nested ops) (call-in-nested-thread (lambda () (all ops) (note "nested")))]))
  (thread-wait (thread (lambda () (perform (cons 'catch program)))))
  (printf "~s\n~a\n\n" program (string-join (reverse log) " ")))
(for ([program (in-port)]) (run program))
