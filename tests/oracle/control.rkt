#lang racket
; Control of threads, custodians and boxes: reads programs, writes each operation, whether it was refused ("!")
; and the state after it: of the threads (Running, Suspended, Dead), of the custodians (alive, dead) and of the
; boxes (value, empty). An "x" stands for what could not be made. See test_as_racket.py.
(define (run program)
  (define custodians (list (make-custodian)))
  (define threads '())
  (define boxes '())
  (define (custodian i) (list-ref custodians i))
  (define (thd i) (list-ref threads i))
  (define (made! kind v)
    (case kind
      [(custodian) (set! custodians (append custodians (list v)))]
      [(thread suspend-to-kill) (set! threads (append threads (list v)))]
      [(box) (set! boxes (append boxes (list v)))]))
  (define (state)
    (format "~a ~a ~a"
            (string-append* (for/list ([t threads])
                              (cond [(not t) "x"] [(thread-dead? t) "D"] [(thread-running? t) "R"] [else "S"])))
            (string-append* (for/list ([c custodians])
                              (cond [(not c) "x"] [(custodian-shut-down? c) "d"] [else "a"])))
            (string-append* (for/list ([b boxes])
                              (cond [(not b) "x"] [(sync/timeout 0 b) "e"] [else "v"])))))
  (define (blocked) (sync never-evt))
  (define (perform op)
    (parameterize ([current-custodian (custodian (cadr op))])
      (match op
        [(list 'custodian _ i) (made! 'custodian (make-custodian (custodian i)))]
        [(list 'thread _) (made! 'thread (thread blocked))]
        [(list 'suspend-to-kill _) (made! 'thread (thread/suspend-to-kill blocked))]
        [(list 'box _ i) (made! 'box (make-custodian-box (custodian i) 5))]
        [(list 'suspend _ i) (thread-suspend (thd i))]
        [(list 'resume _ i) (thread-resume (thd i))]
        [(list 'resume-with-thread _ i j) (thread-resume (thd i) (thd j))]
        [(list 'resume-with-custodian _ i j) (thread-resume (thd i) (custodian j))]
        [(list 'kill _ i) (kill-thread (thd i))]
        [(list 'break _ i) (break-thread (thd i))]
        [(list 'shutdown _ i) (custodian-shutdown-all (custodian i))])))
  (for ([op program])
    (define outcome
      (with-handlers ([exn:fail? (lambda (e) (made! (car op) #f) "!")])
        (perform op)
        "."))
    (for ([_ 3]) (sleep 0))
    (printf "~s ~a ~a\n" op outcome (state)))
  (newline))
(uncaught-exception-handler (lambda (e) ((error-escape-handler))))
(for ([program (in-port)]) (run program))
